package vault_test

import (
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/test/poll"
	"github.com/Miosa-osa/miosa-env/vault/vaulttest"
)

// unreadConn is a connection whose client reads nothing.
type unreadConn struct {
	net.Conn
	key api.Key
}

// dialUnread connects with a small receive buffer.
func dialUnread(t *testing.T, s *vaulttest.Server, key api.Key) unreadConn {
	t.Helper()
	d := net.Dialer{Control: func(_, _ string, c syscall.RawConn) (err error) {
		const small = 4 << 10
		problem := c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, small) })
		if err == nil {
			err = problem
		}
		return err
	}}
	c, err := d.DialContext(t.Context(), "tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return unreadConn{c, key}
}

func (c unreadConn) reveal(t *testing.T, etag string, seconds int) {
	t.Helper()
	body, _ := revealOf(t, sandbox, etag, seconds)
	_ = c.SetWriteDeadline(time.Now().Add(patience))
	_, err := fmt.Fprintf(c, "POST /api/v1/egress/bindings/reveal HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%s",
		c.key.Reveal(), len(body), body)
	if err != nil {
		t.Fatal(err)
	}
}

// An answer counts as memory of its tenant until the client has read it, also one of a small set, after a wait or not.
func TestUnreadAnswersCount(t *testing.T) {
	vaulttest.OneVault(t, "the proxy reads answers")
	const size = 56 << 10 // of a set that is read without reserving memory
	reserved := func(s *vaulttest.Server) bool { return metric(t, s, "miosa_vault_request_memory_bytes") > size }
	counted := func(t *testing.T, s *vaulttest.Server) {
		t.Helper()
		poll.Until(t, 3*patience, "an answer is counted, and stays", func() bool {
			for range 10 {
				if !reserved(s) {
					return false
				}
			}
			return true
		})
	}
	start := func(t *testing.T) (s *vaulttest.Server, id string, key api.Key) {
		s = vaulttest.Start(t)
		return s, s.Put(t, "large", strings.Repeat("v", size), sandbox, "LARGE"), s.ResourceKey(t, sandbox)
	}
	const most = 200 // answers until the buffers of the connection are full
	t.Run("at once", func(t *testing.T) {
		s, _, key := start(t)
		c := dialUnread(t, s, key)
		for range most / 4 {
			c.reveal(t, "", 0)
		}
		counted(t, s)
	})
	t.Run("after a wait", func(t *testing.T) {
		s, id, key := start(t)
		c := dialUnread(t, s, key)
		for range most {
			c.reveal(t, reveal(t, s, key, sandbox).Etag, 60)
			poll.Until(t, patience, "the vault holds the reveal, or has an unread answer", func() bool { return held(t, s) == 1 || reserved(s) })
			if held(t, s) == 0 {
				break
			}
			s.Rotate(t, id, strings.Repeat("w", size))
			poll.Until(t, patience, "answered", func() bool { return held(t, s) == 0 })
		}
		counted(t, s)
	})
}
