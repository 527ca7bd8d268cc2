package fetch_test

import (
	"encoding/pem"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/fetch"
)

// TestConnect: a call uses the connection opened in advance, over plain http and TLS. If that connection failed or
// is not needed, nothing is lost.
func TestConnect(t *testing.T) {
	start := func(tls bool) (*httptest.Server, *atomic.Int32) {
		var opened atomic.Int32
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(`{"bindings":[]}`))
		}))
		s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
			if state == http.StateNew {
				opened.Add(1)
			}
		}
		if tls {
			s.StartTLS()
		} else {
			s.Start()
		}
		t.Cleanup(s.Close)
		return s, &opened
	}
	for _, tls := range []bool{false, true} {
		s, opened := start(tls)
		c := fetch.Config{BaseURL: s.URL, Key: api.NewKey(api.ResourceKeyPrefix), Timeout: 5 * time.Second}
		if tls {
			c.CAFile = filepath.Join(t.TempDir(), "ca.pem")
			text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
			if err := os.WriteFile(c.CAFile, text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		client, err := fetch.New(c)
		if err != nil {
			t.Fatal(err)
		}
		client.Connect()
		for range 2 {
			if _, err := client.Bindings(t.Context(), fetch.BindingFilter{}); err != nil {
				t.Fatal(err)
			}
		}
		if n := opened.Load(); n != 1 {
			t.Errorf("tls=%v: %d connections, want 1", tls, n)
		}
		client.Close()

		unused, err := fetch.New(c)
		if err != nil {
			t.Fatal(err)
		}
		unused.Connect()
		unused.Close()
	}

	gone, _ := start(false)
	gone.Close()
	client, err := fetch.New(fetch.Config{BaseURL: gone.URL, Key: api.NewKey(api.ResourceKeyPrefix), Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	client.Connect()
	if _, err := client.Bindings(t.Context(), fetch.BindingFilter{}); !errors.Is(err, api.ErrUnavailable) {
		t.Errorf("a vault that is down: %v", err)
	}
}
