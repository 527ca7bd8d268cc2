// Package dnstest is a DNS server for tests, which can give another address each time that a name is looked up.
package dnstest

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
)

// Server is a DNS server on loopback.
type Server struct {
	at string

	mu    sync.Mutex // guards the fields below
	of    map[string][]netip.Addr
	asked map[string]int // queries, of which a lookup has two
}

// New starts a server, which ends with the test.
func New(t testing.TB) *Server {
	t.Helper()
	c, err := new(net.ListenConfig).ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	s := &Server{at: c.LocalAddr().String(), of: map[string][]netip.Addr{}, asked: map[string]int{}}
	go func() {
		query := make([]byte, 1500)
		for {
			size, from, err := c.ReadFrom(query)
			if err != nil {
				return
			}
			_, _ = c.WriteTo(s.answer(query[:size]), from)
		}
	}()
	return s
}

// Set sets the addresses of a name's successive lookups; the last one stays. Names that were not set aren't known.
func (s *Server) Set(name string, addresses ...string) {
	list := make([]netip.Addr, len(addresses))
	for i, text := range addresses {
		list[i] = netip.MustParseAddr(text)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.of[name] = list
}

// Lookups returns how often a name was looked up.
func (s *Server) Lookups(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return (s.asked[name] + 1) / 2
}

// Resolver returns a resolver that asks only this server.
func (s *Server) Resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", s.at)
	}}
}

// answer answers a query of one question (RFC 1035, 4.1).
func (s *Server) answer(query []byte) []byte {
	const header, typeA, typeAAAA = 12, 1, 28
	var labels []string
	at := header
	for ; query[at] != 0; at += int(query[at]) + 1 {
		labels = append(labels, string(query[at+1:at+1+int(query[at])]))
	}
	question := query[header : at+5]
	wanted := binary.BigEndian.Uint16(query[at+1:])
	name := strings.ToLower(strings.Join(labels, "."))
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.of[name]
	reply := append([]byte{}, query[:2]...)
	if len(list) == 0 {
		reply = append(reply, 0x81, 0x83, 0, 1, 0, 0, 0, 0, 0, 0) // no such name
		return append(reply, question...)
	}
	ip := list[min(s.asked[name]/2, len(list)-1)]
	s.asked[name]++
	has := wanted == typeA && ip.Is4() || wanted == typeAAAA && ip.Is6()
	count := byte(0)
	if has {
		count = 1
	}
	reply = append(reply, 0x81, 0x80, 0, 1, 0, count, 0, 0, 0, 0)
	reply = append(reply, question...)
	if has {
		reply = append(reply, 0xc0, header, 0, byte(wanted), 0, 1, 0, 0, 0, 0, 0, byte(len(ip.AsSlice())))
		reply = append(reply, ip.AsSlice()...)
	}
	return reply
}
