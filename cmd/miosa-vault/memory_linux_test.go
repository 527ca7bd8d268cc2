package main

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/needs"
	"github.com/Miosa-osa/miosa-env/internal/test/memoryimage"
	"github.com/Miosa-osa/miosa-env/internal/test/poll"
	"github.com/Miosa-osa/miosa-env/vault/vaulttest"
)

// vaultClient sends requests to a vault over one connection.
type vaultClient struct {
	*testing.T
	url, key string
	http     http.Client
}

func newVaultClient(t *testing.T, url, key string) *vaultClient {
	c := &vaultClient{T: t, url: url, key: key}
	c.http.Transport = &http.Transport{MaxConnsPerHost: 1, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	t.Cleanup(c.http.CloseIdleConnections)
	return c
}

// do sends a request, of unknown length if chunked, and decodes the answer.
func (c *vaultClient) do(method, path string, chunked bool, body, answer any) {
	c.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		c.Fatal(err)
	}
	var from io.Reader = bytes.NewReader(text)
	if chunked {
		from = io.MultiReader(from)
	}
	req, err := http.NewRequestWithContext(c.Context(), method, c.url+path, from)
	if err != nil {
		c.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+c.key)
	res, err := c.http.Do(req)
	if err != nil {
		c.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err = io.ReadAll(res.Body)
	if err == nil && res.StatusCode < 300 {
		err = json.Unmarshal(text, answer)
	}
	if err != nil || res.StatusCode >= 300 {
		c.Fatalf("%s %s: status %d, %v: %s", method, path, res.StatusCode, err, api.RedactKeys(string(text)))
	}
}

// stall sends the beginning of a request, and returns when the vault has read it.
func stall(t *testing.T, addr string, encrypted bool, key, value string) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if encrypted {
		conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
	}
	_, err = fmt.Fprintf(conn, "POST /api/v1/egress/secrets HTTP/1.1\r\nHost: vault\r\nExpect: 100-continue\r\nContent-Length: 10000\r\nAuthorization: Bearer %s\r\n\r\n", key)
	if err == nil {
		_, err = io.ReadFull(conn, make([]byte, len("HTTP/1.1 100 Continue\r\n\r\n")))
	}
	if err == nil {
		_, err = fmt.Fprintf(conn, `{"value":"%s`, value)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// interrupt sends signals to all threads of a process until stop. At each, the thread's registers are stored in memory.
func interrupt(t *testing.T, pid int) (stop func()) {
	t.Helper()
	stopping := make(chan struct{})
	var sender sync.WaitGroup
	sender.Go(func() {
		for {
			select {
			case <-stopping:
				return
			case <-time.After(100 * time.Microsecond):
			}
			threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
			if err != nil {
				t.Error(err)
				return
			}
			for _, thread := range threads {
				id, _ := strconv.Atoi(thread.Name())
				_ = unix.Tgkill(pid, id, unix.SIGURG) // a thread may have ended
			}
		}
	})
	return func() {
		close(stopping)
		sender.Wait()
	}
}

// The memory of a vault that has stored, rotated, re-encrypted and revealed hundreds of values, interrupted all the time, contains none of
// them, except over TLS in the buffers of net/http: there, the last request of each connection, of at most 4 KiB.
func TestMemoryImage(t *testing.T) {
	needs.Long(t, "it searches all of a vault's memory")
	needs.Root(t, "to read another process's memory")
	for _, tt := range []struct {
		name string
		tls  bool
		last int // how many values of each connection remain
	}{
		{"http", false, 0},
		{"tls", true, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			store := []string{"--data-dir", filepath.Join(dir, "data"), "--root-key-file", filepath.Join(dir, "root.key")}
			succeed(t, "keys", "root", "--out", filepath.Join(dir, "root.key"))
			tenantKey := succeed(t, append([]string{"keys", "create", "--tenant", "acme"}, store...)...)
			resourceKey := succeed(t, append([]string{"keys", "create", "--tenant", "acme", "--resource", "sandbox:sb_1"}, store...)...)
			serve := append([]string{"serve", "--addr", "127.0.0.1:0", "--log-level", "trace", "--log-format", "json"}, store...)
			if tt.tls {
				_, cert, key := vaulttest.Certificate(t)
				serve = append(serve, "--tls-cert", cert, "--tls-key", key)
			}
			path, err := exec.LookPath("miosa-vault")
			if err != nil {
				t.Fatal(err)
			}
			p := &process{Cmd: exec.Command(path, serve...)}
			if err := p.start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(p.kill)
			url, addr := p.serves(t)
			defer interrupt(t, p.Process.Pid)()

			values, control := memoryimage.NewMarks(), memoryimage.NewMarks()
			number := 0
			next := func(more int) string {
				number++
				return values.Value(number, more, "0123456789abcdefghijklmnopqrstuvwxyz\n\"\u00e9")
			}
			const connections = 3
			var owners, readers []*vaultClient
			for range connections {
				owners = append(owners, newVaultClient(t, url, tenantKey))
				readers = append(readers, newVaultClient(t, url, resourceKey))
			}
			opener, err := api.NewOpener(api.Resource{Type: api.Sandbox, ID: "sb_1"})
			if err != nil {
				t.Fatal(err)
			}
			var reveal api.RevealAnswer
			for i, more := range []int{0, 1, 5, 17, 40, 71, 200, 1000, 3000, 5000, 40_000, 200_000} {
				c, chunked := owners[i%connections], i%2 == 1
				var made, rotated struct{ Data api.Secret }
				c.do("POST", "/egress/secrets", chunked, map[string]any{"name": fmt.Sprint("secret ", i), "value": next(more), "refresh_token": next(more),
					"resource_type": "sandbox", "resource_id": "sb_1", "expose_as_env": fmt.Sprint("S_", i)}, &made)
				for j := range 8 {
					body := map[string]any{"value": next(more)}
					if j%4 != 3 { // otherwise the stored token is encrypted again
						body["refresh_token"] = next(more)
					}
					c.do("PATCH", "/egress/secrets/"+made.Data.ID, chunked, body, &rotated)
					readers[i%connections].do("POST", "/egress/bindings/reveal", false, opener.Request(), &reveal)
				}
				if i%4 == 0 {
					succeed(t, append([]string{"keys", "rotate"}, store...)...)
				}
			}
			set, err := opener.Open(reveal)
			if err != nil || values.Find([]byte(set.Bound[0].Value.Reveal())) == nil {
				t.Fatalf("the values were not revealed: %v", err)
			}
			stall(t, addr, tt.tls, tenantKey, control.Value(1, 100, "x"))
			if !poll.Within(patience, func() bool { return len(memoryimage.Of(t, p.Process.Pid, control).Found) > 0 }) {
				t.Error("the control, which the vault is reading, is not found")
			}
			seen := memoryimage.Of(t, p.Process.Pid, values)
			t.Logf("%d KiB seen; %d of %d values remain: %v", seen.Size>>10, len(seen.Numbers), number, seen.Numbers)
			if len(seen.Numbers) > connections*tt.last || tt.last == 0 && len(seen.Found) > 0 {
				t.Errorf("values in memory, want at most %d: %v", connections*tt.last, seen.Found)
			}
			if _, text := p.text(); values.Find([]byte(text)) != nil {
				t.Error("a value is in the log")
			}
		})
	}
}
