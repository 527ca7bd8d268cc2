// Package ca issues the certificates with which a broker terminates TLS. Each resource has its own certificate authority, so
// what one resource trusts is worth nothing at another.
package ca

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/Miosa-osa/miosa-env/egress/rule"
)

const (
	slowClock     = 24 * time.Hour // certificates begin so long ago: the clock of a sandbox that was restored may be slow
	authorityLife = 10 * 365 * 24 * time.Hour
	leafLife      = 7 * 24 * time.Hour
	leafRenewal   = 24 * time.Hour // how old a certificate gets in the cache
)

// maxCommonName is the longest common name, in bytes. Source: RFC 5280, appendix A.
const maxCommonName = 64

// maxLeaves is how many certificates an authority keeps.
const maxLeaves = 1000

// errNotPermitted is the error of a certificate for a host outside of the authority's name constraints.
var errNotPermitted = errors.New("the host is none of those that the certificate authority may certify")

// Authority is the certificate authority of a resource.
type Authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	leafKey     *ecdsa.PrivateKey // of all certificates that it issues

	mu     sync.Mutex      // guards leaves
	leaves map[string]leaf // by host
}

type leaf struct {
	certificate *tls.Certificate
	issued      time.Time
}

// New makes the authority of a resource, with a new key. If hosts isn't empty, clients accept its
// certificates only for these hosts, each a name, "*.example.com", or an IP address, as in rules: the authority is
// name-constrained (RFC 5280, section 4.2.1.10).
func New(resource string, hosts []string) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := serialNumber()
	if err != nil {
		return nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: commonName(resource)},
		NotBefore:    now.Add(-slowClock),
		NotAfter:     now.Add(authorityLife),
		KeyUsage:     x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		// Certificates for anything else than servers are not accepted from it.
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IsCA:                  true,
		MaxPathLenZero:        true,
		BasicConstraintsValid: true,
	}
	if err := constrain(template, hosts); err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return load(der, key)
}

// commonName is the name of a resource's authority. That of a long resource ends with a hash, since Parse tells resources apart by it.
func commonName(resource string) string {
	name := "miosa-egress " + resource
	if len(name) > maxCommonName {
		const digits = 16
		sum := sha256.Sum256([]byte(resource))
		name = name[:maxCommonName-digits-1] + " " + hex.EncodeToString(sum[:digits/2])
	}
	return name
}

func load(der []byte, key *ecdsa.PrivateKey) (*Authority, error) {
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	leafKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	return &Authority{certificate: certificate, key: key, leafKey: leafKey, leaves: map[string]leaf{}}, nil
}

// constrain limits an authority to hosts, if there are any.
func constrain(c *x509.Certificate, hosts []string) error {
	if len(hosts) == 0 {
		return nil
	}
	c.PermittedDNSDomainsCritical = true
	for _, text := range hosts {
		host, err := rule.Host(strings.TrimPrefix(text, "*."))
		if err != nil {
			return fmt.Errorf("host %q of the certificate authority: %w", text, err)
		}
		ip, err := netip.ParseAddr(host)
		if err != nil {
			// A constraint always includes subdomains.
			c.PermittedDNSDomains = append(c.PermittedDNSDomains, host)
			continue
		}
		c.PermittedIPRanges = append(c.PermittedIPRanges, &net.IPNet{IP: ip.AsSlice(), Mask: net.CIDRMask(ip.BitLen(), ip.BitLen())})
	}
	// Names of a kind that no constraint is about would all be permitted.
	if len(c.PermittedDNSDomains) == 0 {
		c.PermittedDNSDomains = []string{"invalid"} // RFC 6761: no host has such a name
	}
	if len(c.PermittedIPRanges) == 0 {
		for _, all := range []string{"0.0.0.0/0", "::/0"} {
			_, network, _ := net.ParseCIDR(all)
			c.ExcludedIPRanges = append(c.ExcludedIPRanges, network)
		}
	}
	return nil
}

// PEM is the authority's certificate, for the trust stores of clients.
func (a *Authority) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.certificate.Raw})
}

// Certificate returns a certificate for exactly this host, a result of rule.Host. It fails for a host outside of the name constraints.
func (a *Authority) Certificate(host string) (*tls.Certificate, error) {
	if normal, err := rule.Host(host); err != nil || normal != host {
		return nil, fmt.Errorf("certificate: %q is not the normal form of a host", host)
	}
	if !a.permits(host) {
		return nil, errNotPermitted
	}
	a.mu.Lock()
	kept, ok := a.leaves[host]
	a.mu.Unlock()
	if ok && time.Since(kept.issued).Abs() < leafRenewal {
		return kept.certificate, nil
	}
	issued, err := a.issue(host)
	if err != nil {
		return nil, fmt.Errorf("certificate for %s: %w", host, err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.leaves) >= maxLeaves {
		clear(a.leaves) // to choose which to keep isn't worth it: another certificate takes 0.1 ms
	}
	a.leaves[host] = leaf{issued, time.Now().Round(0)} // without the monotonic clock, which stands still while a machine sleeps
	return issued, nil
}

// permits reports whether the name constraints permit a host.
func (a *Authority) permits(host string) bool {
	c := a.certificate
	if len(c.PermittedDNSDomains)+len(c.PermittedIPRanges) == 0 {
		return true
	}
	if ip := net.ParseIP(host); ip != nil {
		return slices.ContainsFunc(c.PermittedIPRanges, func(n *net.IPNet) bool { return n.Contains(ip) })
	}
	return slices.ContainsFunc(c.PermittedDNSDomains, func(d string) bool {
		return host == d || strings.HasSuffix(host, "."+d)
	})
}

func (a *Authority) issue(host string) (*tls.Certificate, error) {
	serial, err := serialNumber()
	if err != nil {
		return nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: serial,
		NotBefore:    now.Add(-slowClock),
		NotAfter:     now.Add(leafLife),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if len(host) <= maxCommonName {
		template.Subject.CommonName = host // some clients show it, none checks it
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		template.IPAddresses = []net.IP{ip.AsSlice()}
	} else {
		template.DNSNames = []string{host}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, a.leafKey.Public(), a.key)
	if err != nil {
		return nil, err
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: a.leafKey, Leaf: parsed}, nil
}

// serialNumber is a random number of 127 bits.
func serialNumber() (*big.Int, error) {
	return rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
}
