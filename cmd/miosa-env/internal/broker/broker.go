// Package broker is what the commands share about the broker of --egress: the proxy that puts values in the places of placeholders.
// It asks the broker for its certificate authority, and points programs to both.
package broker

import (
	"bytes"
	"cmp"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/Miosa-osa/miosa-env/cmd/miosa-env/internal/program"
	"github.com/Miosa-osa/miosa-env/fetch"
	"github.com/Miosa-osa/miosa-env/internal/address"
	"github.com/Miosa-osa/miosa-env/internal/cli"
)

// Cooperative is what every status says of a broker that is on the machine of its clients.
const Cooperative = "it runs on this machine: cooperative only, root on this machine can read the values"

// isListener is the hint if something else than a broker answers.
const isListener = "is it the address of a listener of miosa-egress, for clients of an HTTP proxy?"

// maxAuthorities limits what is read of certificate authorities, in bytes.
const maxAuthorities = 1 << 20

// Broker is a broker that the settings name.
type Broker struct {
	host, port string
	file       string        // with its certificate authority, PEM; empty: the broker serves it
	timeout    time.Duration // of Ask
}

// Of returns the broker that the settings name, nil if they name none.
func Of(s *program.Settings) (*Broker, error) {
	if s.Egress == "" {
		if s.EgressCA != "" {
			return nil, cli.WithHint(errors.New("--egress-ca or MIOSA_EGRESS_CA is given, but no broker"), "name the broker with --egress or MIOSA_EGRESS, or leave it out")
		}
		return nil, nil //nolint:nilnil // none is no error
	}
	bad := func(why string) (*Broker, error) { // the text isn't repeated: it may have a password
		return nil, cli.WithHint(errors.New("the URL of --egress or MIOSA_EGRESS "+why), "give the address of the broker's listener, such as http://10.200.1.1:3128, or leave it out")
	}
	u, err := url.Parse(s.Egress)
	switch {
	case err != nil || u.Scheme != "http" || u.Hostname() == "":
		return bad("isn't http://HOST:PORT")
	case u.User != nil:
		return bad("has a user name: a broker takes none")
	case strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" || u.ForceQuery:
		return bad("has more than a host and a port")
	}
	b := &Broker{host: u.Hostname(), port: cmp.Or(u.Port(), "80"), file: s.EgressCA, timeout: cmp.Or(s.Timeout, fetch.DefaultTimeout)}
	if n, err := strconv.ParseUint(b.port, 10, 16); err != nil || n == 0 {
		return bad("has a port that isn't from 1 to 65535")
	}
	if strings.ContainsFunc(b.host, func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"'\$,%`, r) }) {
		return bad("has a host that isn't a name or an address") // variables of other programs will contain it
	}
	return b, nil
}

// Address returns HOST:PORT.
func (b *Broker) Address() string { return net.JoinHostPort(b.host, b.port) }

// url returns the URL for proxy variables.
func (b *Broker) url() string { return "http://" + b.Address() }

// Found is what a broker answered.
type Found struct {
	Authorities []byte            // PEM, what its clients must trust
	Authority   *x509.Certificate // the first of them
	NoSet       bool              // it has no set of the resource, and refuses every request
	SameMachine bool              // its address is one of this machine
}

// Resource returns the resource that the broker serves at this address, as TYPE:ID, or "" if the authority doesn't say.
func (f Found) Resource() string {
	resource, _ := strings.CutPrefix(f.Authority.Subject.CommonName, "miosa-egress ")
	if resource == f.Authority.Subject.CommonName {
		return ""
	}
	return resource
}

// CheckResource returns an error if the broker at b is known to serve another resource than own, TYPE:ID or "" if that isn't known.
func (f Found) CheckResource(b *Broker, own string) error {
	served := f.Resource()
	if served == "" || own == "" || served == own {
		return nil
	}
	return cli.WithHint(errors.New("the broker at "+b.Address()+" serves "+cli.OneLine(served)+", not "+own),
		"give the address of the listener for "+own+" in --egress or MIOSA_EGRESS")
}

// Describe returns what is known of a broker, in a line.
func (f Found) Describe(b *Broker) string {
	of := ""
	if f.Resource() != "" {
		of = " for " + cli.OneLine(f.Resource())
	}
	return b.url() + of + " answers, its certificate authority is valid until " + f.Authority.NotAfter.UTC().Format(time.DateOnly)
}

// Ask connects to the broker, and gets its certificate authority: that of the file, or the one that it serves, which must be in the
// file if there is one.
func (b *Broker) Ask(ctx context.Context) (found Found, err error) {
	ctx, cancel := context.WithTimeout(ctx, b.timeout)
	defer cancel()
	if b.file != "" {
		if found.Authorities, err = readLimited(b.file); err != nil {
			return found, cli.Unreadable("--egress-ca or MIOSA_EGRESS_CA:", b.file, err)
		}
		if _, err := first(found.Authorities); err != nil {
			return found, cli.WithHint(fmt.Errorf("--egress-ca or MIOSA_EGRESS_CA: %s: %w", b.file, err), "miosa-egress ca RESOURCE prints it, on the broker's machine")
		}
	}
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", b.Address())
	if err != nil {
		return found, cli.WithHint(fmt.Errorf("the broker at %s can't be reached: %w", b.Address(), causeOf(err)),
			"start miosa-egress there, or correct --egress or MIOSA_EGRESS")
	}
	defer func() { _ = conn.Close() }()
	found.SameMachine = sameMachine(conn.RemoteAddr())
	served, noSet, err := ask(ctx, conn)
	if err != nil {
		return found, cli.WithHint(fmt.Errorf("the broker at %s doesn't answer: %w", b.Address(), causeOf(err)), isListener)
	}
	found.NoSet = noSet
	switch {
	case served != nil && len(certificates(served)) == 0: // a web server
		return found, cli.WithHint(fmt.Errorf("what answers at %s isn't a broker: its /ca.pem has no certificate in PEM", b.Address()), isListener)
	case b.file == "" && served == nil:
		return found, cli.WithHint(fmt.Errorf("%s doesn't serve the certificate authority of a broker", b.Address()),
			isListener+" else give its authority with --egress-ca FILE")
	case b.file == "":
		found.Authorities = served
	case served != nil && !contains(found.Authorities, served):
		return found, cli.WithHint(fmt.Errorf("the broker at %s has another certificate authority than the one in %s", b.Address(), b.file),
			"get the present one; with ca_key_file the broker keeps it when it is restarted")
	}
	found.Authority, err = first(found.Authorities)
	if err != nil {
		return found, cli.WithHint(fmt.Errorf("the certificate authority of the broker at %s: %w", b.Address(), err), isListener)
	}
	return found, nil
}

// ask requests the certificate of the broker's authority; nil if it serves none.
func ask(ctx context.Context, conn net.Conn) (text []byte, noSet bool, err error) {
	dialed := func(context.Context, string, string) (net.Conn, error) { return conn, nil }
	transport := &http.Transport{DialContext: dialed, DisableKeepAlives: true, DisableCompression: true, MaxResponseHeaderBytes: 64 << 10}
	defer transport.CloseIdleConnections()
	// The host is the listener's own address, whatever name it was found by.
	address := conn.RemoteAddr().String()
	request := (&http.Request{Method: http.MethodGet, URL: &url.URL{Scheme: "http", Host: address, Path: "/ca.pem"}, Host: address, Header: http.Header{}}).WithContext(ctx)
	response, err := transport.RoundTrip(request)
	if err != nil {
		return nil, false, err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return nil, false, nil
	}
	text, err = io.ReadAll(io.LimitReader(response.Body, maxAuthorities))
	return text, strings.Contains(response.Header.Get("Proxy-Status"), `"no_set"`), err
}

// causeOf returns an error of the network without the address.
func causeOf(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Err
	}
	return err
}

// sameMachine reports whether an address is one of this machine.
func sameMachine(a net.Addr) bool {
	at, err := netip.ParseAddrPort(a.String())
	if err != nil || at.Addr().IsLoopback() {
		return err == nil
	}
	own, err := address.Own()
	return err == nil && own[address.Canonical(at.Addr())]
}

// certificates returns the DER of the certificates in PEM, each once.
func certificates(text []byte) (list [][]byte) {
	seen := map[string]bool{}
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" && !seen[string(block.Bytes)] {
			seen[string(block.Bytes)] = true
			list = append(list, block.Bytes)
		}
	}
	return list
}

// contains reports whether all certificates of served are in text. Both are PEM.
func contains(text, served []byte) bool {
	all := certificates(text)
	return !slices.ContainsFunc(certificates(served), func(one []byte) bool {
		return !slices.ContainsFunc(all, func(other []byte) bool { return bytes.Equal(one, other) })
	})
}

// first returns the first certificate, if it is that of an authority and valid now.
func first(text []byte) (*x509.Certificate, error) {
	all := certificates(text)
	if len(all) == 0 {
		return nil, errors.New("it has no certificate in PEM")
	}
	authority, err := x509.ParseCertificate(all[0])
	now := time.Now()
	switch {
	case err != nil || !authority.IsCA:
		return nil, errors.New("want the certificate of a certificate authority, as PEM")
	case now.Before(authority.NotBefore):
		return nil, errors.New("it isn't valid yet: is this machine's clock right?")
	case now.After(authority.NotAfter):
		return nil, errors.New("it has expired: the broker makes another one when its ca_key_file is removed and it is restarted")
	}
	return authority, nil
}

// readLimited reads a file of certificates.
func readLimited(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return io.ReadAll(io.LimitReader(f, maxAuthorities))
}
