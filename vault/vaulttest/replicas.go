package vaulttest

import (
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/Miosa-osa/miosa-env/internal/needs"
	"github.com/Miosa-osa/miosa-env/internal/test/postgrestest"
	"github.com/Miosa-osa/miosa-env/vault"
)

// serverEnv is set to the URL of a running PostgreSQL server in a process of tests whose vaults are each three replicas on a database
// of that server, behind a proxy: package replicatest runs tests again in this way.
const serverEnv = "MIOSA_TEST_POSTGRES"

const replicas = 3

// OneVault skips a test in which the vault must not be three replicas. why completes "needs option:", such as "it damages SQLite's file".
func OneVault(t testing.TB, why string) {
	t.Helper()
	needs.Option(t, os.Getenv(serverEnv) == "", serverEnv+"=", why)
}

// replica is one vault of a Server.
type replica struct {
	*vault.Vault
	addr  string
	stop  context.CancelFunc
	ended chan error
}

// serve serves a vault at a listener.
func serve(v *vault.Vault, l net.Listener) *replica {
	ctx, stop := context.WithCancel(context.Background())
	r := &replica{v, l.Addr().String(), stop, make(chan error, 1)}
	go func() { r.ended <- v.Serve(ctx, l) }()
	return r
}

// close stops a vault as TERM does.
func (r *replica) close(t testing.TB) {
	t.Helper()
	r.stop()
	if err := <-r.ended; err != nil {
		t.Errorf("serve: %v", err)
	}
	if err := r.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}

// openVaults opens the vaults of s.conf: one, or with serverEnv three.
func (s *Server) openVaults(t testing.TB) (all []*vault.Vault) {
	t.Helper()
	n := 1
	if server := os.Getenv(serverEnv); server != "" {
		if n = replicas; s.conf.Store.Database == "" {
			s.conf.Store.Database = postgrestest.Schema(t, server)
		}
	}
	for i := range n {
		conf := s.conf
		if i > 0 {
			conf.Store.DataDir = filepath.Join(conf.Store.DataDir, "replica-"+strconv.Itoa(i))
		}
		v, err := vault.Open(context.Background(), conf)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, v)
	}
	return all
}

// serveAll serves vaults: one at a listener, or several behind a proxy there.
func (s *Server) serveAll(t testing.TB, all []*vault.Vault, l net.Listener) {
	t.Helper()
	if len(all) == 1 {
		s.replicas = []*replica{serve(all[0], l)}
		return
	}
	if o := s.conf.OAuth; o != nil && o.PublicURL == "" {
		o.PublicURL = strings.TrimSuffix(s.BaseURL, "/api/v1") // else each vault would send browsers to itself
	}
	s.proxy = &proxy{listener: l, open: map[net.Conn]struct{}{}}
	for _, v := range all {
		own, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		s.replicas = append(s.replicas, serve(v, own))
		s.proxy.to = append(s.proxy.to, own.Addr().String())
	}
	s.proxy.running.Go(s.proxy.run)
}

// proxy passes connections on, to each vault in turn.
type proxy struct {
	listener net.Listener
	to       []string
	running  sync.WaitGroup

	mu     sync.Mutex // guards the fields below
	open   map[net.Conn]struct{}
	closed bool
}

func (p *proxy) run() {
	for next := 0; ; next++ {
		c, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.running.Go(func() { p.pass(c, p.to[next%len(p.to)]) })
	}
}

// pass copies between a client and a vault until both have ended, or one has failed.
func (p *proxy) pass(client net.Conn, to string) {
	defer func() { _ = client.Close() }()
	server, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }()
	if !p.add(client, server) {
		return
	}
	defer p.remove(client, server)
	var both sync.WaitGroup
	for _, ends := range [][2]net.Conn{{client, server}, {server, client}} {
		both.Go(func() {
			if _, err := io.Copy(ends[0], ends[1]); err != nil {
				_ = client.Close()
				_ = server.Close()
				return
			}
			_ = ends[0].(*net.TCPConn).CloseWrite()
		})
	}
	both.Wait()
}

func (p *proxy) add(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		p.open[c] = struct{}{}
	}
	return !p.closed
}

func (p *proxy) remove(conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		delete(p.open, c)
	}
}

// refuse makes the proxy accept no more connections.
func (p *proxy) refuse() { _ = p.listener.Close() }

// close ends all connections.
func (p *proxy) close() {
	p.mu.Lock()
	p.closed = true
	for c := range p.open {
		_ = c.Close()
	}
	p.mu.Unlock()
	p.running.Wait()
}
