package ca

import (
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// verify checks a certificate of an authority as a client that trusts it does.
func verify(t *testing.T, trusted *Authority, leaf *x509.Certificate, host string) error {
	t.Helper()
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(trusted.PEM()) {
		t.Fatal("no certificate in PEM")
	}
	_, err := leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: host})
	return err
}

func newAuthority(t *testing.T, hosts ...string) *Authority {
	t.Helper()
	a, err := New("sandbox:sb_1", hosts)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestCertificate(t *testing.T) {
	a, b := newAuthority(t), newAuthority(t)
	for _, host := range []string{"api.example.com", "203.0.113.7", "2001:db8::7", strings.Repeat("a.", 60) + "example.com"} {
		c, err := a.Certificate(host)
		if err != nil {
			t.Fatal(err)
		}
		if err := verify(t, a, c.Leaf, host); err != nil {
			t.Errorf("%s: %v", host, err)
		}
		if err := verify(t, a, c.Leaf, "other.example.com"); err == nil {
			t.Errorf("%s: it is valid for another host", host)
		}
		if err := verify(t, b, c.Leaf, host); err == nil {
			t.Errorf("%s: the authority of another resource certifies it", host)
		}
		if again, _ := a.Certificate(host); again != c {
			t.Errorf("%s: it isn't kept", host)
		}
	}
	for _, host := range []string{"", "*.example.com", "API.example.com", "api.example.com.", "[2001:db8::7]", "a b", "127.1", "x\x00y", strings.Repeat("a", 300)} {
		if _, err := a.Certificate(host); err == nil {
			t.Errorf("%q has a certificate", host)
		}
	}
}

// The authority issues no certificates for other hosts, and clients don't accept any that a thief of its key issues.
func TestAttack_CATheft(t *testing.T) {
	for _, tt := range []struct {
		name           string
		hosts, yes, no []string
	}{
		{"names", []string{"api.example.com", "*.example.org"}, []string{"api.example.com", "a.example.org"}, []string{"www.example.com", "example.net", "bank.example", "203.0.113.7", "2001:db8::7"}},
		{"addresses", []string{"203.0.113.7"}, []string{"203.0.113.7"}, []string{"203.0.113.8", "api.example.com", "2001:db8::7"}},
		{"both", []string{"203.0.113.7", "2001:db8::7", "api.example.com"}, []string{"203.0.113.7", "2001:db8::7", "api.example.com"}, []string{"203.0.113.8", "2001:db8::8", "www.example.com"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := newAuthority(t, tt.hosts...)
			for _, host := range tt.yes {
				c, err := a.Certificate(host)
				if err != nil {
					t.Fatal(err)
				}
				if err := verify(t, a, c.Leaf, host); err != nil {
					t.Errorf("%s: %v", host, err)
				}
			}
			for _, host := range tt.no {
				if _, err := a.Certificate(host); !errors.Is(err, errNotPermitted) {
					t.Errorf("%s: got %v, want errNotPermitted", host, err)
				}
				stolen, err := a.issue(host)
				if err != nil {
					t.Fatal(err)
				}
				if err := verify(t, a, stolen.Leaf, host); err == nil {
					t.Errorf("%s: a client accepts it", host)
				}
			}
			// Nor another authority or a certificate for another purpose.
			if c := a.certificate; !c.MaxPathLenZero || len(c.ExtKeyUsage) != 1 || c.ExtKeyUsage[0] != x509.ExtKeyUsageServerAuth || !c.PermittedDNSDomainsCritical {
				t.Error("the authority may do more than certify servers")
			}
		})
	}
	if _, err := New("sandbox:sb_1", []string{"*.*"}); err == nil {
		t.Error("a name constraint that is no host is accepted")
	}
}

// The cache has a bound, whatever names clients ask for, and no name gets another's certificate.
func TestAttack_ManyNames(t *testing.T) {
	a := newAuthority(t)
	var all sync.WaitGroup
	for part := range 4 {
		all.Go(func() {
			for i := range maxLeaves / 3 {
				host := fmt.Sprintf("n%d.p%d.example.com", i, part)
				c, err := a.Certificate(host)
				if err != nil || c.Leaf.DNSNames[0] != host {
					t.Errorf("%s: %v", host, err)
				}
				a.mu.Lock()
				if len(a.leaves) > maxLeaves {
					t.Errorf("%d certificates are kept", len(a.leaves))
				}
				a.mu.Unlock()
			}
		})
	}
	all.Wait()
}

func TestCertificatesAreRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAuthority(t)
		first, _ := a.Certificate("api.example.com")
		for range 400 {
			<-time.After(24 * time.Hour)
			c, err := a.Certificate("api.example.com")
			if err != nil || time.Until(c.Leaf.NotAfter) < 5*24*time.Hour {
				t.Fatalf("after a day: until %v, %v", c.Leaf.NotAfter, err)
			}
		}
		if again, _ := a.Certificate("api.example.com"); again == first {
			t.Error("it was kept for a year")
		}
	})
}

// A certificate's age counts the time in which the machine slept.
func TestCertificatesAge(t *testing.T) {
	a := newAuthority(t)
	if _, err := a.Certificate("api.example.com"); err != nil {
		t.Fatal(err)
	}
	if at := a.leaves["api.example.com"].issued; at.String() != at.Round(0).String() {
		t.Errorf("measured by the monotonic clock: %s", at)
	}
}

func TestMarshal(t *testing.T) {
	a := newAuthority(t, "api.example.com")
	text, err := a.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	b, err := Parse(text, "sandbox:sb_1", []string{"api.example.com"})
	if err != nil {
		t.Fatal(err)
	}
	c, err := b.Certificate("api.example.com")
	if err != nil {
		t.Fatal(err)
	}
	if err := verify(t, a, c.Leaf, "api.example.com"); err != nil {
		t.Error(err)
	}
	if _, err := b.Certificate("other.example.com"); !errors.Is(err, errNotPermitted) {
		t.Errorf("got %v, want errNotPermitted", err)
	}
	other, _ := newAuthority(t).Marshal()
	for name, bad := range map[string]string{
		"nothing": "", "no key": string(a.PEM()), "half": string(text[:len(text)/2]),
		"another's key": string(a.PEM()) + string(other[strings.Index(string(other), "-----BEGIN PRIVATE"):]),
	} {
		if _, err := Parse([]byte(bad), "sandbox:sb_1", []string{"api.example.com"}); !errors.Is(err, errFile) {
			t.Errorf("%s: got %v, want errFile", name, err)
		}
	}
}

// An authority that is kept isn't used for another resource, nor with other hosts.
func TestKeptAuthorityOfOthers(t *testing.T) {
	text, err := newAuthority(t, "api.example.com", "*.example.org", "203.0.113.7").Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Parse(text, "sandbox:sb_1", []string{"203.0.113.7", "example.org", "api.example.com"}); err != nil {
		t.Error(err)
	}
	for _, tt := range []struct {
		resource string
		hosts    []string
	}{
		{"sandbox:sb_2", []string{"api.example.com", "*.example.org", "203.0.113.7"}},
		{"sandbox:sb_1", nil},
		{"sandbox:sb_1", []string{"api.example.com"}},
		{"sandbox:sb_1", []string{"api.example.com", "*.example.org", "203.0.113.8"}},
	} {
		if _, err := Parse(text, tt.resource, tt.hosts); !errors.Is(err, errMismatch) {
			t.Errorf("%s %v: got %v, want errMismatch", tt.resource, tt.hosts, err)
		}
	}
}

// The names of resources may be longer than that of an authority.
func TestKeptAuthorityOfLongNames(t *testing.T) {
	long := "sandbox:" + strings.Repeat("a", 127)
	for _, resource := range []string{long + "1", long[:52] + "1"} {
		a, err := New(resource, nil)
		if err != nil {
			t.Fatal(err)
		}
		text, err := a.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Parse(text, resource, nil); err != nil {
			t.Error(err)
		}
		if _, err := Parse(text, resource[:len(resource)-1]+"2", nil); !errors.Is(err, errMismatch) {
			t.Errorf("got %v, want errMismatch", err)
		}
	}
}
