package agent_test

import (
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/agent"
	"github.com/Miosa-osa/miosa-env/internal/needs"
	"github.com/Miosa-osa/miosa-env/internal/test/netns"
	"github.com/Miosa-osa/miosa-env/internal/test/poll"
	"github.com/Miosa-osa/miosa-env/vault/vaulttest"
)

// relay forwards connections, and can reset all of them.
type relay struct {
	net.Listener
	mu    sync.Mutex // guards the fields below
	open  map[*net.TCPConn]bool
	count int // of all connections so far
}

func newRelay(t *testing.T, l net.Listener, to string) *relay {
	t.Helper()
	r := &relay{Listener: l, open: map[*net.TCPConn]bool{}}
	t.Cleanup(func() { _ = l.Close(); r.reset() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go r.pass(c.(*net.TCPConn), to)
		}
	}()
	return r
}

func (r *relay) pass(c *net.TCPConn, to string) {
	r.mu.Lock()
	r.open[c] = true
	r.count++
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		delete(r.open, c)
		r.mu.Unlock()
		_ = c.Close()
	}()
	d, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer func() { _ = d.Close() }()
	go func() { _, _ = io.Copy(c, d); _ = c.Close() }()
	_, _ = io.Copy(d, c)
}

// reset ends every connection with RST.
func (r *relay) reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for c := range r.open {
		_ = c.SetLinger(0)
		_ = c.Close()
	}
}

func (r *relay) connections() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.count
}

// An agent runs in its own network, with one link to the vault. It notices a reset at once and a link that is down within
// 30 s, and is fresh again soon after. The link is down for a minute, during which the agent serves its set.
func TestFault_A11_LinkDown(t *testing.T) {
	needs.Long(t, "more than a minute of real time: keepalive is the kernel's")
	t.Parallel() // nearly all of its time is waiting
	needs.Root(t, "to connect two network namespaces")
	needs.Command(t, "ip", "nsenter")
	const here, there = "198.18.77.1", "198.18.77.2"
	ours := netns.New(t)
	cert, ca, _ := vaulttest.Certificate(t, func(c *x509.Certificate) { c.IPAddresses = append(c.IPAddresses, net.ParseIP(here)) })
	v := vaulttest.Start(t, vaulttest.WithTLS(cert))
	secret := v.Put(t, "token", "value 0", sandbox, "TOKEN")

	const vault = here + ":8200"
	p := spawn(t, agentVariable, agentProcess{
		BaseURL: "https://" + vault + "/api/v1", CAFile: ca, KeyFile: keyFile(t, v.ResourceKey(t, sandbox)),
	}, &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET})
	p.await(t, time.Minute, "it fails without a network", func(s served) bool { return s.Failures > 0 })

	pid := strconv.Itoa(p.Process.Pid)
	const mine, its = "vault", "agent"
	ours.Run(t, "ip", "link", "add", mine, "type", "veth", "peer", "name", its, "netns", pid)
	ours.Run(t, "ip", "addr", "add", here+"/30", "dev", mine)
	ours.Run(t, "ip", "link", "set", mine, "up")
	ours.Run(t, "nsenter", "-t", pid, "-n", "ip", "addr", "add", there+"/30", "dev", its)
	ours.Run(t, "nsenter", "-t", pid, "-n", "ip", "link", "set", its, "up")
	var socket net.Listener
	poll.Until(t, 20*time.Second, "the address is assigned", func() bool {
		var err error
		ours.Do(func() { socket, err = net.Listen("tcp", vault) })
		return err == nil
	})
	cable := newRelay(t, socket, v.Addr())
	p.await(t, time.Minute, "the first set", serves("value 0"))

	// RST during a wait, a few times.
	const route = "POST /egress/bindings/reveal"
	waits := func() {
		t.Helper()
		last, since := 0, time.Now()
		poll.Until(t, 20*time.Second, "the agent waits and sends no other request", func() bool {
			if n := v.Requests(route); n != last {
				last, since = n, time.Now()
			}
			return time.Since(since) > 300*time.Millisecond
		})
	}
	waits()
	for i := 1; i <= 5; i++ {
		value := fmt.Sprint("value ", i)
		began := time.Now()
		cable.reset()
		said := p.await(t, 20*time.Second, "a reset is noticed", func(s served) bool { return s.State == agent.Stale })
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("a reset was noticed after %s", took)
		}
		if last := said[len(said)-1]; last.Version != int64(i) {
			t.Errorf("stale with version %d", last.Version)
		}
		v.Rotate(t, secret, value)
		p.await(t, 20*time.Second, "fresh after a reset", serves(value))
		waits()
	}

	// The link goes down during a wait, and the agent is not notified.
	before := cable.connections()
	unplugged := time.Now()
	ours.Run(t, "ip", "link", "set", mine, "down")
	v.Rotate(t, secret, "value 6")
	p.await(t, 40*time.Second, "the unplugged cable is noticed", func(s served) bool { return s.State == agent.Stale })
	took := time.Since(unplugged)
	if took > 30*time.Second {
		t.Errorf("a link that is down was noticed after %s", took)
	}
	v.Rotate(t, secret, "value 7")
	<-time.After(time.Until(unplugged.Add(time.Minute)))
	if n := cable.connections() - before; n != 0 {
		t.Errorf("%d connections over a link that is down", n)
	}
	asked := v.Requests(route)
	ours.Run(t, "ip", "link", "set", mine, "up")
	plugged := time.Now()
	said := p.await(t, 40*time.Second, "fresh after the cable is back", serves("value 7"))
	for _, s := range said {
		if s.State == agent.Fresh && s.Version != 8 || s.State != agent.Fresh && s.Version != 6 {
			t.Errorf("%s with version %d while the link was down", s.State, s.Version)
		}
	}
	waits()
	// Recovery takes two requests, one that is answered at once and one that waits, over one connection. The kernel
	// repeats the SYN of a pending connect, so a connection attempt from the time without link may still be
	// established just before or next to the one that is used.
	if n := cable.connections() - before; n < 1 || n > 2 {
		t.Errorf("%d connections until recovery", n)
	}
	if n := v.Requests(route) - asked; n > 2 {
		t.Errorf("%d requests until recovery", n)
	}
	t.Logf("noticed after %s, fresh %s after the link was up", took, time.Since(plugged))
}
