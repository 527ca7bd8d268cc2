package swap

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/Miosa-osa/miosa-env/api"
)

// received is a request as a server has read it.
type received struct {
	Method, URI, Body string
	Authorization     string
	Encoding          string // accepted
	Length            int64
}

// echo starts a server that returns what it received in its body, with gzip if that is accepted, in a header and a
// trailer.
func echo(t *testing.T, h2 bool) (*httptest.Server, func() []received) {
	t.Helper()
	var mu sync.Mutex
	var all []received
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		got := received{r.Method, r.RequestURI, string(body), r.Header.Get("Authorization"), r.Header.Get("Accept-Encoding"), r.ContentLength}
		mu.Lock()
		all = append(all, got)
		mu.Unlock()
		w.Header().Set("Trailer", "X-Trailer")
		w.Header().Set("X-Echo", got.Authorization)
		var to io.Writer = w
		if strings.Contains(got.Encoding, "gzip") {
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			defer z.Close()
			to = z
		}
		w.Header().Set(http.TrailerPrefix+"X-Late", got.Authorization)
		_ = json.NewEncoder(to).Encode(got)
	}))
	server.EnableHTTP2 = h2
	server.StartTLS()
	t.Cleanup(server.Close)
	return server, func() []received {
		mu.Lock()
		defer mu.Unlock()
		return all
	}
}

// broker starts a server that sends what it receives to another one, with placeholders swapped.
func broker(t *testing.T, upstream *httptest.Server, rules ...api.EgressRule) (*httptest.Server, *http.Client) {
	t.Helper()
	to, err := url.Parse(upstream.URL)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(to.Port())
	if err != nil {
		t.Fatal(err)
	}
	for i := range rules {
		rules[i].Hosts, rules[i].Ports = []string{"127.0.0.1"}, []int{port}
	}
	tab, err := New(api.Snapshot{Bound: []api.Bound{bound("token", token, "s3cret-value-of-some-length", rules...)}})
	if err != nil {
		t.Fatal(err)
	}
	transport := upstream.Client().Transport.(*http.Transport)
	transport.DisableCompression = true
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.URL.Scheme, r.URL.Host = "https", to.Host
		swapped, err := tab.Request(r, to.Hostname(), port)
		var refused *Refusal
		switch {
		case errors.As(err, &refused):
			w.WriteHeader(http.StatusForbidden)
			_ = json.NewEncoder(w).Encode(refused)
			return
		case err != nil:
			t.Error(err)
			return
		}
		resp, err := transport.RoundTrip(r)
		if err != nil {
			t.Error(err)
			return
		}
		defer resp.Body.Close()
		if err := swapped.Scrubber().Response(resp); err != nil {
			t.Error(err)
			return
		}
		for name, values := range resp.Header {
			w.Header()[name] = values
		}
		_, _ = io.Copy(w, resp.Body)
		for name, values := range resp.Trailer {
			w.Header()[http.TrailerPrefix+name] = values
		}
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	return server, server.Client()
}

// Over HTTP/1.1 and HTTP/2, the server gets the value with the right lengths, and the client gets no value back.
func TestAttack_EchoOverTheWire(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		upstream, requests := echo(t, h2)
		front, client := broker(t, upstream, to("authorization", "query:key", "json:key"))
		client.Transport.(*http.Transport).DisableCompression = true
		for i, chunked := range []bool{false, true} {
			for j, encoding := range []string{"identity", "gzip, dcb"} {
				var body io.Reader = strings.NewReader(`{"key":"` + token + `","n":1}`)
				if chunked {
					body = struct{ io.Reader }{body}
				}
				r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, front.URL+"/x?key="+token, body)
				if err != nil {
					t.Fatal(err)
				}
				r.Header.Set("Content-Type", "application/json")
				r.Header.Set("Accept-Encoding", encoding)
				r.SetBasicAuth("git", token)
				resp, err := client.Do(r)
				if err != nil {
					t.Fatal(err)
				}
				text, err := io.ReadAll(resp.Body)
				if err = errors.Join(err, resp.Body.Close()); err != nil {
					t.Fatal(err)
				}
				want := received{
					"POST", "/x?key=s3cret-value-of-some-length", `{"key":"s3cret-value-of-some-length","n":1}`, basic("git:s3cret-value-of-some-length"),
					strings.TrimSuffix(encoding, ", dcb"), int64(len(`{"key":"s3cret-value-of-some-length","n":1}`)),
				}
				if diff := cmp.Diff(want, requests()[2*i+j]); diff != "" {
					t.Errorf("HTTP/2 %v, chunked %v: the server got (-want +got):\n%s", h2, chunked, diff)
				}
				all := string(text) + fmt.Sprint(resp.Header, resp.Trailer)
				if resp.StatusCode != http.StatusOK || !strings.Contains(string(text), `"/x?key=***************************"`) || resp.Trailer.Get("X-Late") == "" {
					t.Errorf("HTTP/2 %v: %s, %s", h2, resp.Status, all)
				}
				for _, part := range []string{"s3cret", want.Authorization[len(want.Authorization)-20:]} {
					if strings.Contains(all, part) {
						t.Errorf("HTTP/2 %v, %s: the client got %s", h2, encoding, all)
					}
				}
			}
		}
	}
}

// Requests that follow on a connection are not affected by the lengths of those before, and nothing of a refused one
// is sent.
func TestAttack_Pipelining(t *testing.T) {
	upstream, requests := echo(t, false)
	front, _ := broker(t, upstream, to("authorization", "json:key"))
	plain := httptest.NewServer(front.Config.Handler)
	t.Cleanup(plain.Close)
	c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", plain.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	body := `{"key":"` + token + `"}`
	send := []string{
		fmt.Sprintf("POST /1 HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body),
		fmt.Sprintf("POST /2 HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n", body[:9], len(body)-9, body[9:]),
		"GET /3?x=" + token + " HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET /4 HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer " + token + "\r\n\r\n",
		"POST /5 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nAuthorization: Bearer " + token + "\r\n\r\nabc",
		"GET /6 HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer " + token + "\r\n\r\n",
	}
	if _, err := io.WriteString(c, strings.Join(send, "")); err != nil {
		t.Fatal(err)
	}
	reader := bufio.NewReader(c)
	var statuses []int
	for range send {
		resp, err := http.ReadResponse(reader, nil)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		if err = errors.Join(err, resp.Body.Close()); err != nil || strings.Contains(string(text), "s3cret") {
			t.Errorf("%s, %v", text, err)
		}
		statuses = append(statuses, resp.StatusCode)
	}
	if diff := cmp.Diff([]int{200, 200, 403, 200, 200, 200}, statuses); diff != "" {
		t.Errorf("statuses (-want +got):\n%s", diff)
	}
	const swapped = `{"key":"s3cret-value-of-some-length"}`
	const auth = "Bearer s3cret-value-of-some-length"
	want := []received{
		{"POST", "/1", swapped, "", "", int64(len(swapped))}, {"POST", "/2", swapped, "", "", int64(len(swapped))},
		{"GET", "/4", "", auth, "", 0}, {"POST", "/5", "abc", auth, "", 3}, {"GET", "/6", "", auth, "", 0},
	}
	if diff := cmp.Diff(want, requests()); diff != "" {
		t.Errorf("the server got (-want +got):\n%s", diff)
	}
}

// Headers that are folded, or have line breaks that only some programs recognize, don't reach the server in that form.
func TestAttack_HeaderFolding(t *testing.T) {
	upstream, requests := echo(t, false)
	front, _ := broker(t, upstream, to("authorization"))
	plain := httptest.NewServer(front.Config.Handler)
	t.Cleanup(plain.Close)
	for _, tt := range []struct {
		name, headers string
		status        int
	}{
		{"folded before the placeholder", "Authorization: Bearer\r\n " + token + "\r\n", 200},
		{"folded in the placeholder", "Authorization: Bearer " + token[:20] + "\r\n " + token[20:] + "\r\n", 403},
		{"bare CR", "Authorization: Bearer " + token + "\rX-A: b\r\n", 400},
		{"NUL", "Authorization: Bearer " + token + "\x00\r\n", 400},
		{"space before the colon", "Authorization : Bearer " + token + "\r\n", 400},
		{"two lengths", "Content-Length: 0\r\nContent-Length: 5\r\nAuthorization: Bearer " + token + "\r\n", 400},
		{"two hosts", "Host: b\r\nAuthorization: Bearer " + token + "\r\n", 400},
		{"unknown transfer coding", "Transfer-Encoding: xchunked\r\nAuthorization: Bearer " + token + "\r\n", 501},
	} {
		c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", plain.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		before := len(requests())
		if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n"+tt.headers+"\r\n"); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		sent := requests()[before:]
		if resp.StatusCode != tt.status || (len(sent) > 0) != (tt.status == http.StatusOK) {
			t.Errorf("%s: %s, sent %+v", tt.name, resp.Status, sent)
		}
		for _, r := range sent {
			if r.Authorization != "Bearer s3cret-value-of-some-length" {
				t.Errorf("%s: sent %+v", tt.name, r)
			}
		}
		_, _ = resp.Body.Close(), c.Close()
	}
}
