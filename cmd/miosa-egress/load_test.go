package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/Miosa-osa/miosa-env/internal/test/poll"
)

const loadClients = 4

// load are clients that send requests one after the other.
type load struct {
	restarts int // of the broker
	stop     context.CancelFunc
	clients  sync.WaitGroup
	done     [loadClients]atomic.Int64 // requests that succeeded
	failed   [loadClients]atomic.Int64 // requests whose connection broke

	mu    sync.Mutex // guards wrong
	wrong []string   // other failures
}

func cmdLoad(ts *testscript.TestScript, _ bool, args []string) {
	f := fixtureOf(ts)
	if args[0] != "end" {
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM([]byte(ts.ReadFile("ca.pem"))) {
			ts.Fatalf("ca.pem has no certificate")
		}
		proxy, err := url.Parse(ts.Getenv("PROXY"))
		ts.Check(err)
		l := &load{}
		var ctx context.Context
		ctx, l.stop = context.WithCancel(context.Background())
		ts.Defer(func() { l.stop(); l.clients.Wait() })
		for i := range loadClients {
			l.clients.Go(func() { l.run(ctx, i, proxy, roots, ts.Getenv("UPSTREAM"), "Bearer "+ts.Getenv(args[0])) })
		}
		f.load = l
		l.wait(ts)
		return
	}
	l := f.load
	l.wait(ts)
	l.stop()
	l.clients.Wait()
	if len(l.wrong) > 0 {
		ts.Fatalf("%d requests failed in another way: %s", len(l.wrong), l.wrong[0])
	}
	for i := range l.failed {
		// The kept connection of a client, and one that the kernel had accepted for the broker.
		if n := l.failed[i].Load(); n > int64(2*l.restarts) {
			ts.Fatalf("%d requests of a client failed with %d restarts", n, l.restarts)
		}
	}
}

// wait waits until each client has succeeded since now.
func (l *load) wait(ts *testscript.TestScript) {
	for i := range l.done {
		before := l.done[i].Load()
		if !poll.Within(patience, func() bool { return l.done[i].Load() > before+1 }) {
			ts.Fatalf("a client has no success; %v; %s", l.wrong, ts.ReadFile("broker.log"))
		}
	}
}

// run is client i. Those with an even number use a new connection for each request.
func (l *load) run(ctx context.Context, i int, proxy *url.URL, roots *x509.CertPool, to, authorization string) {
	transport := &http.Transport{
		Proxy: http.ProxyURL(proxy), TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		DisableKeepAlives: i%2 == 0,
	}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: patience}
	for ctx.Err() == nil {
		err := get(ctx, client, to, authorization)
		var dial *net.OpError
		switch {
		case ctx.Err() != nil:
		case err == nil:
			l.done[i].Add(1)
		case errors.As(err, &dial) && dial.Op == "proxyconnect" && strings.Contains(err.Error(), "connection refused"):
			// There is no broker now: nothing was sent.
		case errors.As(err, &dial), brokenConnection.MatchString(err.Error()):
			l.failed[i].Add(1)
		default:
			l.mu.Lock()
			l.wrong = append(l.wrong, err.Error())
			l.mu.Unlock()
		}
		select {
		case <-ctx.Done():
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// brokenConnection is the text of net/http's errors for requests whose connection broke: some have no type.
var brokenConnection = regexp.MustCompile("EOF|server closed idle connection|transport connection broken")

func get(ctx context.Context, client *http.Client, to, authorization string) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, to, nil)
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", authorization)
	res, err := client.Do(r)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err == nil && (res.StatusCode != http.StatusOK || !strings.HasPrefix(string(text), "you sent Bearer ***")) {
		err = fmt.Errorf("status %d: %.200q", res.StatusCode, text)
	}
	return err
}
