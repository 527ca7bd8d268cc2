package store

import (
	"fmt"
	"testing"

	"github.com/Miosa-osa/miosa-env/api"
)

// full returns a store with n secrets bound to box1.
func full(b *testing.B, n int) (s *Store, owner, reader Actor, secretID string) {
	b.Helper()
	s = newStore(b)
	owner = tenant(b, s, "acme")
	for i := range n {
		secretID = bound(b, s, owner, fmt.Sprintf("SECRET_%03d", i), "sk-live-0123456789abcdefghijklmnopqrstuvwxyz").ID
	}
	return s, owner, agent(b, s, owner, box1), secretID
}

func BenchmarkReveal(b *testing.B) {
	for _, n := range []int{5, 100} {
		b.Run(fmt.Sprintf("%d bindings", n), func(b *testing.B) {
			s, _, reader, _ := full(b, n)
			b.ReportAllocs()
			for b.Loop() {
				set, err := s.opened(b.Context(), reader, box1)
				if err != nil {
					b.Fatal(err)
				}
				api.Snapshot{Bound: set}.Wipe()
			}
		})
	}
}

// Many agents at once, as after a restart of the vault.
func BenchmarkRevealParallel(b *testing.B) {
	s, _, reader, _ := full(b, 5)
	b.ReportAllocs()
	b.SetParallelism(16)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := s.opened(b.Context(), reader, box1); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// The cost of waking a waiting reveal.
func BenchmarkState(b *testing.B) {
	s, _, reader, _ := full(b, 100)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.state(b.Context(), reader, box1); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRotateSecret(b *testing.B) {
	s, owner, _, id := full(b, 100)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.RotateSecret(b.Context(), owner, id, Rotation{Value: text("sk-live-another-value")}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAuthenticate(b *testing.B) {
	s := newStore(b)
	k, err := s.CreateTenantKey(b.Context(), "acme")
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Authenticate(b.Context(), k.Key.Reveal()); err != nil {
			b.Fatal(err)
		}
	}
}
