package vault_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/vault/vaulttest"
)

// A reveal over loopback on an open connection without TLS: authentication, reading, audit with its fsync, and
// seal.
func BenchmarkHTTPReveal(b *testing.B) {
	for _, n := range []int{5, 100} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := vaulttest.Start(b)
			for i := range n {
				s.Put(b, fmt.Sprint("s", i), "0123456789abcdef0123456789abcdef", sandbox, fmt.Sprint("S", i))
			}
			key := s.ResourceKey(b, sandbox)
			opener, err := api.NewOpener(sandbox)
			if err != nil {
				b.Fatal(err)
			}
			body := opener.Request()
			b.ReportAllocs()
			for b.Loop() {
				if status, _ := s.Do(b, key, "POST", "/egress/bindings/reveal", body); status != http.StatusOK {
					b.Fatal(status)
				}
			}
		})
	}
}

// The fixed cost of a call: routing, authentication, limits, envelope.
func BenchmarkHTTPList(b *testing.B) {
	s := vaulttest.Start(b)
	b.ReportAllocs()
	for b.Loop() {
		if status, _ := s.Do(b, s.TenantKey, "GET", "/egress/bindings", nil); status != http.StatusOK {
			b.Fatal(status)
		}
	}
}
