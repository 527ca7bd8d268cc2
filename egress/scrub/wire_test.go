package scrub

import (
	"bufio"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// answer sends a request to a server, scrubs the response, and returns it with its body.
func answer(t *testing.T, server *httptest.Server, method, path string, headers ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, server.URL+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	Accept(r.Header)
	transport := server.Client().Transport.(*http.Transport)
	transport.DisableCompression = true
	resp, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := scrubber(secret).Response(resp); err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(text)
}

// The lengths and ranges of a server's responses stay right, and responses without a body have none.
func TestRangesAndResponsesWithoutBody(t *testing.T) {
	file := "0123456789" + secret + "0123456789"
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/none":
			w.WriteHeader(http.StatusNoContent)
		case "/gzip":
			w.Header().Set("Content-Encoding", "gzip")
			w.Header().Set("Etag", `"v1"`)
			if r.Header.Get("Accept-Encoding") != "gzip" {
				t.Errorf("Accept-Encoding: %s", r.Header.Get("Accept-Encoding"))
			}
			http.ServeContent(w, r, "a.txt", time.Time{}, strings.NewReader(encode(t, file, encoders["gzip"])))
		default:
			w.Header().Set("Etag", `"v1"`)
			http.ServeContent(w, r, "a.txt", time.Time{}, strings.NewReader(file))
		}
	}))
	t.Cleanup(server.Close)
	stars := strings.Repeat("*", len(secret))
	blanked := "0123456789" + stars + "0123456789"
	for _, tt := range []struct {
		name, method, path string
		headers            []string
		status             int
		length             int64
		etag, body         string
	}{
		{"whole", "GET", "/", nil, 200, int64(len(file)), `"v1"`, blanked},
		{"HEAD", "HEAD", "/", nil, 200, int64(len(file)), `"v1"`, ""},
		{"not modified", "GET", "/", []string{"If-None-Match", `"v1"`}, 304, 0, `"v1"`, ""},
		{"not modified, by the tag of a decoded response", "GET", "/", []string{"If-None-Match", `W/"v1"`}, 304, 0, `"v1"`, ""},
		{"no content", "GET", "/none", nil, 204, 0, "", ""},
		{"range with the value", "GET", "/", []string{"Range", "bytes=5-45"}, 206, 41, `"v1"`, blanked[5:46]},
		{"range that ends in the value", "GET", "/", []string{"Range", "bytes=0-29"}, 206, 30, `"v1"`, blanked[:30]},
		{"unsatisfiable range", "GET", "/", []string{"Range", "bytes=1000-"}, 416, 33, "", "invalid range: failed to overlap\n"},
		{"gzip", "GET", "/gzip", []string{"Accept-Encoding", "gzip"}, 200, -1, `W/"v1"`, blanked},
		{"HEAD of gzip", "HEAD", "/gzip", []string{"Accept-Encoding", "gzip"}, 200, -1, `W/"v1"`, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			resp, body := answer(t, server, tt.method, tt.path, tt.headers...)
			if resp.StatusCode != tt.status || resp.ContentLength != tt.length || resp.Header.Get("Etag") != tt.etag || resp.Header.Get("Content-Encoding") != "" {
				t.Errorf("%s, %d bytes, %v", resp.Status, resp.ContentLength, resp.Header)
			}
			if diff := cmp.Diff(tt.body, body); diff != "" {
				t.Errorf("body (-want +got):\n%s", diff)
			}
		})
	}
	resp, body := answer(t, server, "GET", "/", "Range", "bytes=0-9,10-41")
	if resp.StatusCode != http.StatusPartialContent || resp.ContentLength != int64(len(body)) || strings.Contains(body, secret) || !strings.Contains(body, stars) {
		t.Errorf("several ranges: %s, %d bytes, %q", resp.Status, resp.ContentLength, body)
	}
}

// After an upgrade, messages pass in both directions, also if they end like the start of a value, and values don't.
func TestUpgrade(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, both, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		_, _ = both.WriteString("HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\nX-Echo: " + secret + "\r\n\r\n")
		_ = both.Flush()
		for line, err := both.ReadString('\n'); err == nil; line, err = both.ReadString('\n') {
			_, _ = both.WriteString(strings.TrimSuffix(line, "\n"))
			_ = both.Flush()
		}
	}))
	t.Cleanup(server.Close)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Connection", "Upgrade")
	r.Header.Set("Upgrade", "echo")
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := scrubber(secret).Response(resp); err != nil {
		t.Fatal(err)
	}
	both, ok := resp.Body.(io.ReadWriter)
	if !ok || resp.Header.Get("X-Echo") != strings.Repeat("*", len(secret)) {
		t.Fatalf("body %T, headers %v", resp.Body, resp.Header)
	}
	reader := bufio.NewReader(both)
	for _, message := range []string{"hello", "news", "ask", secret, "is", secret + "s"} {
		if _, err := io.WriteString(both, message+"\n"); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(message))
		want := strings.ReplaceAll(message, secret, strings.Repeat("*", len(secret)))
		if _, err := io.ReadFull(reader, got); err != nil || string(got) != want {
			t.Errorf("%q, %v, want %q", got, err, want)
		}
	}
}
