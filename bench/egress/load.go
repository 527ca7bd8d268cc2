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
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/Miosa-osa/miosa-env/egress/ca"
)

// upstream is the server that the proxies send requests to.
type upstream struct {
	*http.Server
	authority *ca.Authority
	port      int
}

// newUpstream starts the server. It answers with a small JSON object, if the credentials are those of a proxy.
func newUpstream() (*upstream, error) {
	authority, err := ca.New("internet", nil)
	if err != nil {
		return nil, err
	}
	certificate, err := authority.Certificate(host)
	if err != nil {
		return nil, err
	}
	l, err := tls.Listen("tcp", host+":0", &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{*certificate}, NextProtos: []string{"h2", "http/1.1"}})
	if err != nil {
		return nil, err
	}
	up := &upstream{authority: authority, port: l.Addr().(*net.TCPAddr).Port}
	up.Server = &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		swapped := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ") != placeholder
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"swapped":%v,"text":%q}`, swapped, strings.Repeat("x", 200)) //nolint:gosec // for no browser
	})}
	go up.Serve(l) //nolint:errcheck // it ends with the program
	return up, nil
}

// client returns a client of a proxy.
func (p *process) client(h2 bool) *http.Client {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(p.CA)
	protocols := new(http.Protocols)
	protocols.SetHTTP1(!h2)
	protocols.SetHTTP2(h2)
	return &http.Client{Transport: &http.Transport{
		Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: p.Address}), Protocols: protocols, MaxIdleConnsPerHost: 1000,
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
	}}
}

// result is what was measured with one proxy.
type result struct {
	times []time.Duration // of requests
	took  time.Duration
	used  time.Duration // of the processor, by the proxy
}

// measure sends requests for some time.
func (r *result) measure(ctx context.Context, p *process, up *upstream, h2 bool, clients int, how time.Duration) error {
	client := p.client(h2)
	defer client.CloseIdleConnections()
	token := placeholder
	if !p.Rules {
		token = value // the floor passes on what it gets; a placeholder would be refused
	}
	request := func() error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+net.JoinHostPort(host, strconv.Itoa(up.port))+"/v1/items?page=1", http.NoBody)
		if err != nil {
			return err
		}
		req.Header.Set("Authorization", "Bearer "+token)
		res, err := client.Do(req)
		if err != nil {
			return err
		}
		defer res.Body.Close() //nolint:errcheck // it was read
		body, err := io.ReadAll(res.Body)
		if err == nil && (res.StatusCode != http.StatusOK || !strings.Contains(string(body), `"swapped":true`)) {
			err = errors.New(res.Status + " from " + p.Name)
		}
		return err
	}
	each := func(until func(int) bool) ([]time.Duration, error) {
		var all sync.WaitGroup
		var mu sync.Mutex
		var times []time.Duration
		var failed error
		for range clients {
			all.Go(func() {
				var own []time.Duration
				var err error
				for i := 0; err == nil && !until(i); i++ {
					begun := time.Now()
					err = request()
					own = append(own, time.Since(begun))
				}
				mu.Lock()
				defer mu.Unlock()
				times, failed = append(times, own...), errors.Join(failed, err)
			})
		}
		all.Wait()
		return times, failed
	}
	if _, err := each(func(i int) bool { return i == 20 }); err != nil { // connections, certificates, pages
		return err
	}
	before, err := processTime(p.cmd.Process.Pid)
	if err != nil {
		return err
	}
	begun := time.Now()
	times, err := each(func(int) bool { return time.Since(begun) >= how })
	if err != nil {
		return err
	}
	r.took += time.Since(begun)
	after, err := processTime(p.cmd.Process.Pid)
	r.times, r.used = append(r.times, times...), r.used+after-before
	return err
}

func (r *result) rate() float64 { return float64(len(r.times)) / r.took.Seconds() }

// percentile is in milliseconds.
func (r *result) percentile(p int) float64 {
	slices.Sort(r.times)
	return r.times[(len(r.times)-1)*p/100].Seconds() * 1000
}

// cpu is microseconds of the processor for a request.
func (r *result) cpu() float64 { return r.used.Seconds() * 1e6 / float64(len(r.times)) }

// to compares with the floor.
func (r *result) to(floor result) string {
	return fmt.Sprintf("%.2f of the floor's requests/s, %.2f of its CPU", r.rate()/floor.rate(), r.cpu()/floor.cpu())
}

// processTime is the processor time of a process's threads, which the kernel counts in nanoseconds.
func processTime(pid int) (sum time.Duration, err error) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil || len(files) == 0 {
		return 0, fmt.Errorf("no processor time of process %d", pid)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // the thread has ended
		}
		first, _, _ := strings.Cut(string(text), " ")
		n, err := strconv.ParseInt(first, 10, 64)
		if err != nil {
			return 0, err
		}
		sum += time.Duration(n)
	}
	return sum, nil
}
