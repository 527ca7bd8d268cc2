package proxy_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/egress/proxy"
)

// The status line of a server's answer to an upgrade has no value.
func TestAttack_ReasonOfUpgrade(t *testing.T) {
	t.Parallel()
	w := newWorld(t, proxy.Limits{})
	w.allow(host, true)
	port := w.server(t, false, func(rw http.ResponseWriter, r *http.Request) {
		c, _, err := http.NewResponseController(rw).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		_, _ = fmt.Fprintf(c, "HTTP/1.1 101 %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello", r.Header.Get("Authorization"))
	})
	c, err := w.tunnel(t, fmt.Sprintf("%s:%d", host, port), host, "http/1.1")
	if err != nil {
		t.Fatal(err)
	}
	_, _ = fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: %s:%d\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nAuthorization: Bearer %s\r\n\r\n", host, port, placeholder)
	text, _ := io.ReadAll(bufio.NewReader(c))
	if strings.Contains(string(text), value) || !strings.HasPrefix(string(text), "HTTP/1.1 101 ") || !strings.HasSuffix(string(text), "hello") {
		t.Errorf("the client got %q", text)
	}
}

// A header or parameter from which some servers take the method or path is no way around a policy's methods and paths.
func TestAttack_OverridesOfPolicy(t *testing.T) {
	t.Parallel()
	w := newWorld(t, proxy.Limits{})
	const third = "third.example.com"
	for _, name := range []string{host, other, third} {
		w.names.Set(name, "127.0.0.1")
	}
	w.change(func() {
		w.network.DefaultEffect = api.EffectDeny
		w.network.Rules = []api.NetworkRule{
			{ID: "r_posts", Host: host, Effect: api.EffectAllow, Methods: []string{"POST"}, PathGlob: "/public/**"},
			{ID: "r_all", Host: other, Effect: api.EffectAllow},
			{ID: "r_deletes", Host: third, Effect: api.EffectDeny, Methods: []string{"DELETE"}},
			{ID: "r_rest", Host: third, Effect: api.EffectAllow},
		}
	})
	port := w.server(t, true, func(http.ResponseWriter, *http.Request) {})
	c := w.client(t, true)
	for _, tt := range []struct {
		host, query, header string
		status              int
	}{
		{host, "", "", http.StatusOK},
		{host, "?method=DELETE&a=_method", "X-Method", http.StatusOK},
		{host, "", "X-HTTP-Method-Override", http.StatusForbidden},
		{host, "", "X_Original_URL", http.StatusForbidden},
		{host, "?a=b&_method=DELETE", "", http.StatusForbidden},
		{other, "?_method=DELETE", "X-Original-URL", http.StatusOK},
		{third, "", "", http.StatusOK},
		{third, "?%5Fmethod=DELETE", "", http.StatusForbidden},
	} {
		r, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, urlOf(tt.host, port, "/public/a"+tt.query), nil)
		if tt.header != "" {
			r.Header[tt.header] = []string{"DELETE"}
		}
		res, err := c.Do(r)
		if err != nil {
			t.Errorf("%+v: %v", tt, err)
			continue
		}
		_ = res.Body.Close()
		if res.StatusCode != tt.status {
			t.Errorf("%+v: %s", tt, res.Status)
		}
	}
}

// A malformed request in a tunnel is in the audit, with the host of its connection: an event without a host is none.
func TestAttack_UnrecordedRequests(t *testing.T) {
	t.Parallel()
	w := newWorld(t, proxy.Limits{})
	w.allow(host, true)
	port := w.server(t, false, func(http.ResponseWriter, *http.Request) { t.Error("a request was sent") })
	for _, head := range []string{
		"GET / HTTP/1.1\r\nHost: a..b\r\n", "GET / HTTP/1.1\r\nHost: \r\n", "GET / HTTP/1.1\r\nHost: " + host + ":0\r\n", "CONNECT / HTTP/1.1\r\nHost: " + host + "\r\n",
		"GET ftp://" + host + "/ HTTP/1.1\r\nHost: " + host + "\r\n", "GET /a#b HTTP/1.1\r\nHost: " + host + "\r\n",
	} {
		before := w.recorded()
		c, err := w.tunnel(t, fmt.Sprintf("%s:%d", host, port), host, "http/1.1")
		if err != nil {
			t.Fatal(err)
		}
		_, _ = fmt.Fprintf(c, "%sConnection: close\r\n\r\n", head)
		answer, _ := io.ReadAll(c)
		if e, n := w.last(), w.recorded()-before; !strings.HasPrefix(string(answer), "HTTP/1.1 400 ") || n != 1 || e.Host != host || !e.Refused {
			t.Errorf("%q: %.40q, %d events, event %+v", head, answer, n, e)
		}
	}
}

// recorded is the number of events.
func (w *world) recorded() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.events)
}
