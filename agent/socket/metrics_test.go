package socket_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/agent"
	"github.com/Miosa-osa/miosa-env/agent/peer"
	"github.com/Miosa-osa/miosa-env/agent/socket"
	"github.com/Miosa-osa/miosa-env/internal/test/agenttest"
	"github.com/Miosa-osa/miosa-env/internal/test/poll"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// Prometheus can parse the page, its linter accepts it, and it doesn't name variables, secrets or paths.
func TestMetrics(t *testing.T) {
	served := newFakeEngine(many(5))
	served.status.Counts = agent.Counts{Asks: 9, Failures: 3, Refusals: 1, Changes: 2, Wakes: 4, CacheSaves: 6}
	served.status.RoundTrip = 12.5
	served.status.Version = "1.0 \"odd\"\\\n"
	served.status.LastError = "canary in an error"
	at := agenttest.Serve(t, served, peer.List{})
	if _, err := at.Dial(t).Source(sandbox, "").Next(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	readAll(t, at.Send(t, "nonsense\n"))
	poll.Until(t, 30*time.Second, "the connections end", func() bool { // they are counted after the response
		return strings.Contains(at.Text(), "socket_connections 0\n")
	})
	text := at.Text()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	got := map[string]float64{}
	for name, f := range families {
		for _, m := range f.GetMetric() {
			key := strings.TrimPrefix(name, "miosa_env_agent_")
			for _, l := range m.GetLabel() {
				key += " " + l.GetValue()
			}
			got[key] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	delete(got, "start_time_seconds")
	want := map[string]float64{
		"info 1.0 \"odd\"\\\n": 1, "state starting": 0, "state fresh": 1, "state stale": 0, "state refused": 0,
		"age_seconds": 1.5, "bindings": 5, "placeholders": 0, "set_changes_total": 2, "vault_requests_total": 9,
		"vault_failures_total": 3, "vault_refusals_total": 1, "vault_round_trip_seconds": 0.0125, "wakes_total": 4,
		"cache_saves_total": 6, "outputs pending": 0, "outputs written": 1, "outputs failed": 0, "outputs refused": 0,
		"outputs removed": 0, "socket_connections": 0, "socket_waiting": 0,
		"socket_requests_total reveal ok": 1, "socket_requests_total other malformed": 1,
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("metrics (-got +want):\n%s", diff)
	}
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("linter: %v, %v", problems, err)
	}
	for _, secret := range []string{"canary", "VARIABLE", "sb_1", "/run/x", "sec_", "bnd_"} {
		if strings.Contains(text, secret) {
			t.Errorf("the metrics contain %q", secret)
		}
	}
}

// pages returns HTTP clients of the socket and of a port.
func pages(t *testing.T, at *agenttest.Server) map[string]*http.Client {
	t.Helper()
	l, err := socket.ListenMetrics(t.Context(), "127.0.0.1:0")
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { at.ServeMetrics(ctx, l); close(ended) }()
	t.Cleanup(func() { cancel(); <-ended })
	to := func(network, address string) *http.Client {
		return &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, address)
		}}}
	}
	return map[string]*http.Client{"socket": to("unix", at.Path()), "port": to("tcp", l.Addr().String())}
}

func TestPages(t *testing.T) {
	served := newFakeEngine(many(5))
	at := agenttest.Serve(t, served, peer.List{})
	for where, client := range pages(t, at) {
		for _, tt := range []struct {
			state  agent.State
			path   string
			status int
			text   string
		}{
			{agent.Fresh, "/healthz", 200, "fresh\n"},
			{agent.Stale, "/healthz", 200, "stale\n"},
			{agent.Starting, "/healthz", 503, "starting\n"},
			{agent.Refused, "/healthz?verbose", 503, "refused\n"},
			{agent.Fresh, "/metrics", 200, "# HELP miosa_env_agent_info"},
			{agent.Fresh, "/", 404, "there is /metrics and /healthz\n"},
			{agent.Fresh, "/reveal", 404, "there is /metrics and /healthz\n"},
		} {
			t.Run(fmt.Sprintf("%s %s %s", where, tt.path, tt.state), func(t *testing.T) {
				served.become(many(5), tt.state)
				res, err := client.Get("http://agent" + tt.path)
				must(t, err)
				defer func() { _ = res.Body.Close() }()
				text, err := io.ReadAll(res.Body)
				if err != nil || res.StatusCode != tt.status || !strings.HasPrefix(string(text), tt.text) {
					t.Errorf("%d %q, %v", res.StatusCode, text, err)
				}
				if bytes.Contains(text, []byte("canary")) {
					t.Error("the page contains a value")
				}
			})
		}
	}
}

// The port answers HTTP only, and idle clients don't block others for long.
func TestPagesOnAPort(t *testing.T) {
	t.Parallel()
	at := agenttest.Serve(t, newFakeEngine(many(1)), peer.List{})
	l, err := socket.ListenMetrics(t.Context(), "localhost:0")
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { at.ServeMetrics(ctx, l); close(ended) }()
	ask := func(text string) string {
		t.Helper()
		c, err := net.Dial("tcp", l.Addr().String())
		must(t, err)
		defer func() { _ = c.Close() }()
		_, err = io.WriteString(c, text)
		must(t, err)
		return readAll(t, c)
	}
	if got := ask(`{"op":"reveal","resource_type":"sandbox","resource_id":"sb_1"}` + "\n"); !strings.HasPrefix(got, "HTTP/1.0 405 ") {
		t.Errorf("response to a reveal: %q", got)
	}
	for range 20 {
		c, err := net.Dial("tcp", l.Addr().String())
		must(t, err)
		defer func() { _ = c.Close() }()
	}
	if got := ask("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"); !strings.HasSuffix(got, "\r\n\r\nfresh\n") {
		t.Errorf("response of /healthz: %q", got)
	}
	silent, err := net.Dial("tcp", l.Addr().String())
	must(t, err)
	defer func() { _ = silent.Close() }()
	cancel()
	select {
	case <-ended:
	case <-time.After(30 * time.Second):
		t.Fatal("ServeMetrics does not return")
	}
	// Not by its port, which another process may have got.
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the listener isn't closed: %v", err)
	}
}

func TestListenMetricsRefuses(t *testing.T) {
	for _, tt := range []struct{ name, address, want string }{
		{"every address", ":9464", "every address isn't a loopback address"},
		{"zeros", "0.0.0.0:9464", "isn't a loopback address"},
		{"zeros, IPv6", "[::]:9464", "isn't a loopback address"},
		{"a network's", "192.0.2.1:9464", "isn't a loopback address"},
		{"a name", "example.com:80", "isn't a loopback address"},
		{"no port", "127.0.0.1", "want a loopback address and a port"},
		{"nothing", "", "want a loopback address and a port"},
		{"an odd port", "127.0.0.1:http2x", "metrics on 127.0.0.1:http2x"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l, err := socket.ListenMetrics(t.Context(), tt.address)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
			if l != nil {
				_ = l.Close()
			}
		})
	}
}

// An HTTP request may arrive in pieces.
func TestPagesSplitRequest(t *testing.T) {
	at := agenttest.Serve(t, newFakeEngine(many(1)), peer.List{})
	c := at.Send(t, "")
	for _, b := range []byte("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n") {
		if _, err := c.Write([]byte{b}); err != nil {
			t.Fatal(err)
		}
	}
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	must(t, err)
	_ = res.Body.Close()
	if res.StatusCode != 200 {
		t.Errorf("status %d", res.StatusCode)
	}
}
