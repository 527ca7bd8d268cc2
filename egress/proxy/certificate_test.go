package proxy_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/Miosa-osa/miosa-env/egress/proxy"
)

// A listener serves the certificate of its authority at one path, as its own address, and nothing else.
func TestCertificate(t *testing.T) {
	t.Parallel()
	w := newWorld(t, proxy.Limits{})
	none := newWorld(t, proxy.Limits{})
	none.mu.Lock()
	none.set = proxy.NoSet("the vault hasn't answered")
	none.mu.Unlock()
	for _, tt := range []struct {
		name, request, host string
		to                  *world
		want                string
		status              string // the header Proxy-Status
	}{
		{name: "served", request: "GET /ca.pem HTTP/1.1", want: string(w.authority.PEM())},
		{name: "HTTP/1.0", request: "GET /ca.pem HTTP/1.0", want: string(w.authority.PEM())},
		{name: "without a set", to: none, request: "GET /ca.pem HTTP/1.1", want: string(none.authority.PEM()), status: `miosa-egress; error=http_request_denied; details="no_set"`},
		{name: "another host", request: "GET /ca.pem HTTP/1.1", host: "api.example.com", want: `"reason":"request"`},
		{name: "another port", request: "GET /ca.pem HTTP/1.1", host: "127.0.0.1:1", want: `"reason":"request"`},
		{name: "another method", request: "POST /ca.pem HTTP/1.1", want: `"reason":"request"`},
		{name: "HEAD", request: "HEAD /ca.pem HTTP/1.1"},
		{name: "another path", request: "GET /ca.key HTTP/1.1", want: `"reason":"request"`},
		{name: "with a query", request: "GET /ca.pem? HTTP/1.1", want: `"reason":"request"`},
		{name: "encoded", request: "GET /c%61.pem HTTP/1.1", want: `"reason":"request"`},
		{name: "a path that ends there", request: "GET //ca.pem HTTP/1.1", want: `"reason":"request"`},
		{name: "an absolute URL", request: "GET http://" + w.address + "/ca.pem HTTP/1.1", want: `"reason":"address"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			to := tt.to
			if to == nil {
				to = w
			}
			if tt.host == "" {
				tt.host = to.address
			}
			c := dialed(t, to)
			fmt.Fprintf(c, "%s\r\nHost: %s\r\nConnection: close\r\n\r\n", tt.request, tt.host)
			method, _, _ := strings.Cut(tt.request, " ")
			response, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: method})
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(response.Body)
			if err != nil {
				t.Fatal(err)
			}
			if served := strings.HasPrefix(tt.want, "-----BEGIN"); served != (response.StatusCode == http.StatusOK) || !strings.Contains(string(body), tt.want) {
				t.Errorf("status %d: %s", response.StatusCode, body)
			}
			if got := response.Header.Get("Proxy-Status"); (tt.status != "" || response.StatusCode == http.StatusOK) && got != tt.status {
				t.Errorf("Proxy-Status %q, want %q", got, tt.status)
			}
		})
	}
	// In a tunnel it is a request for the server, as everything is.
	w.allow(host, true)
	upstream := w.server(t, true, echo)
	response, body := get(t, w.client(t, false), urlOf(host, upstream, "/ca.pem"))
	if response.StatusCode != http.StatusOK || strings.Contains(body, "CERTIFICATE") {
		t.Errorf("status %d: %s", response.StatusCode, body)
	}
}
