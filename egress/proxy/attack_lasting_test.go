package proxy_test

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/net/websocket"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/egress/proxy"
	"github.com/Miosa-osa/miosa-env/internal/test/poll"
)

// A connection that passed through unchanged ends when the policy denies its host, when a rule says that it must be decrypted, and when
// nothing is known of the resource any more. Others stay.
func TestAttack_OldConnections(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*world){
		"denied":    func(w *world) { w.deny("r_deny", other, "") },
		"decrypted": func(w *world) { w.hosts = append(w.hosts, other) },
		"no set":    func(w *world) { w.set = proxy.NoSet("none") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, proxy.Limits{})
			w.allow(other, false)
			w.allow("stays.example.com", false)
			l := w.echoBytes(t)
			send := func(c net.Conn) error {
				_, _ = io.WriteString(c, "\x00\x01")
				_, err := io.ReadFull(c, make([]byte, 2))
				return err
			}
			ends, _ := w.connect(t, recorder{l}.at(other))
			stays, _ := w.connect(t, recorder{l}.at("stays.example.com"))
			for _, c := range []net.Conn{ends, stays} {
				if err := send(c); err != nil {
					t.Fatal(err)
				}
			}
			if name == "denied" {
				change(w)
			} else {
				w.change(func() {})
				w.compiled(t)
				w.mu.Lock()
				change(w)
				if name == "decrypted" {
					w.set = nil
				}
				w.mu.Unlock()
			}
			w.Changed()
			if err := send(ends); err == nil {
				t.Error("the connection stays")
			}
			if err := send(stays); (err == nil) != (name != "no set") {
				t.Errorf("the other connection: %v", err)
			}
		})
	}
}

// A connection after an upgrade ends when the policy denies its request, when a binding is gone whose value it has, and when nothing is
// known of the resource any more. It stays when the value is rotated or a rule changes that it doesn't need.
func TestAttack_OldUpgrades(t *testing.T) {
	t.Parallel()
	unbound := func(w *world) {
		w.hosts = nil
		w.network.Rules = append(w.network.Rules, api.NetworkRule{Host: host, Effect: api.EffectAllow})
	}
	for name, c := range map[string]struct {
		change func(*world)
		plain  bool // the handshake has no placeholder
		stays  bool
	}{
		"denied": {change: func(w *world) {
			w.network.Rules = append(w.network.Rules, api.NetworkRule{ID: "r_deny", Host: host, Effect: api.EffectDeny, PathGlob: "/w*"})
		}},
		"denied elsewhere": {change: func(w *world) {
			w.network.Rules = append(w.network.Rules, api.NetworkRule{ID: "r_deny", Host: host, Effect: api.EffectDeny, PathGlob: "/x*"})
		}, stays: true},
		"unbound":              {change: unbound},
		"unbound and not used": {change: unbound, plain: true, stays: true},
		"no set":               {change: func(w *world) { w.set = proxy.NoSet("none") }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, proxy.Limits{})
			w.allow(host, true)
			port := w.server(t, true, webSocketEcho)
			authorization := "Bearer " + placeholder
			if c.plain {
				authorization = ""
			}
			socket := w.webSocket(t, port, authorization)
			var got string
			_ = websocket.Message.Receive(socket, &got)
			w.change(func() {})
			w.mu.Lock()
			c.change(w)
			w.mu.Unlock()
			w.Changed()
			_ = socket.SetReadDeadline(time.Now().Add(2 * generous))
			send := func() error {
				_ = websocket.Message.Send(socket, "one")
				return websocket.Message.Receive(socket, &got)
			}
			if err := send(); err != nil && c.stays || errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("the connection: %v", err)
			}
			if !c.stays {
				poll.Until(t, generous, "the connection ends", func() bool { return send() != nil })
			}
		})
	}
}
