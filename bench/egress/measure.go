package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// kind is what is measured.
type kind struct {
	name    string
	proxies []string // the first one is what the others are compared with
	h2      bool
	fresh   bool   // a connection for each request
	body    string // "down" or "up": a large body; otherwise small requests
	plain   bool   // without the placeholder
}

var all = []string{floor, broker, goproxy, mitmproxy}

// kinds are in the order of the results. goproxy has no hooks for HTTP/2.
var kinds = []kind{
	{name: "requests, HTTP/1.1", proxies: all},
	{name: "requests, HTTP/2", proxies: []string{floor, broker, mitmproxy}, h2: true},
	{name: "connections", proxies: all, fresh: true},
	{name: "100 MB down, value", proxies: all, body: "down"},
	{name: "100 MB up, value", proxies: all, body: "up"},
	{name: "100 MB down, no value", proxies: all, body: "down", plain: true},
	{name: "100 MB up, no value", proxies: all, body: "up", plain: true},
	{name: "100 MB down, HTTP/2, value", proxies: []string{floor, broker, mitmproxy}, h2: true, body: "down"},
	{name: "100 MB down, not decrypted", proxies: []string{direct, unchanged}, body: "down", plain: true},
	{name: "100 MB up, not decrypted", proxies: []string{direct, unchanged}, body: "up", plain: true},
}

// result is what was measured with one proxy.
type result struct {
	times []time.Duration // of requests
	took  time.Duration
	used  time.Duration // of the processor, by the proxy
}

// token is what the client sends through a proxy.
func (k kind) token(p *process) string {
	switch {
	case k.plain:
		return ""
	case p.Name == floor || p.Name == direct || p.Name == unchanged:
		return value // they pass on what they get; a placeholder would be refused
	}
	return placeholder
}

// request sends one request and reads the response.
func (k kind) request(ctx context.Context, client *http.Client, p *process, up *upstream) error {
	method, path, body := http.MethodGet, pathSmall, io.Reader(http.NoBody)
	if k.body != "" {
		path = pathBody
	}
	if k.body == "up" {
		method, body = http.MethodPost, io.LimitReader(repeated{up.part}, bodySize)
	}
	r, err := http.NewRequestWithContext(ctx, method, up.url(path), body)
	if err != nil {
		return err
	}
	if k.body == "up" {
		r.ContentLength = bodySize
	}
	if token := k.token(p); token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := client.Do(r)
	if err != nil {
		return fmt.Errorf("%s: %w", p.Name, err)
	}
	defer res.Body.Close() //nolint:errcheck // it was read
	var text strings.Builder
	to := io.Writer(&text)
	if k.body == "down" {
		to = io.Discard
	}
	n, err := io.Copy(to, res.Body)
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", p.Name, err)
	case res.StatusCode != http.StatusOK,
		k.body == "down" && n != bodySize, k.body == "up" && text.String() != strconv.Itoa(bodySize),
		k.body == "" && !strings.Contains(text.String(), `"swapped":true`):
		return fmt.Errorf("%s: %s", p.Name, res.Status)
	}
	return nil
}

// repeated is a text without end.
type repeated struct{ text []byte }

func (r repeated) Read(p []byte) (int, error) { return copy(p, r.text), nil }

// measure sends requests for some time.
func (k kind) measure(ctx context.Context, r *result, p *process, up *upstream, clients int, how time.Duration) error {
	client := p.client(k.h2, !k.fresh)
	defer client.CloseIdleConnections()
	if k.body != "" {
		clients = 1
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
					err = k.request(ctx, client, p, up)
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
	warm := 20 // connections, certificates, pages
	if k.body != "" || k.fresh {
		warm = 1
	}
	if _, err := each(func(i int) bool { return i == warm }); err != nil {
		return err
	}
	before, err := p.time()
	if err != nil {
		return err
	}
	begun := time.Now()
	times, err := each(func(int) bool { return time.Since(begun) >= how })
	if err != nil {
		return err
	}
	r.took += time.Since(begun)
	after, err := p.time()
	r.times, r.used = append(r.times, times...), r.used+after-before
	return err
}

func (r *result) rate() float64 { return float64(len(r.times)) / r.took.Seconds() }

// cpu is milliseconds of the processor for a request.
func (r *result) cpu() float64 { return r.used.Seconds() * 1000 / float64(len(r.times)) }

// percentile is in milliseconds.
func (r *result) percentile(p int) float64 {
	slices.Sort(r.times)
	return r.times[(len(r.times)-1)*p/100].Seconds() * 1000
}

// row is a line of the table.
func (k kind) row(name string, r, first *result) string {
	rate := fmt.Sprintf("%.0f/s", r.rate())
	if k.body != "" {
		rate = fmt.Sprintf("%.2f GB/s", r.rate()*bodySize/1e9)
	}
	text := fmt.Sprintf("| %s | %s | %s | %.2f ms | %.2f ms | %.3f ms | %.2f |", k.name, name, rate, r.percentile(50), r.percentile(99), r.cpu(), r.rate()/first.rate())
	if first.used > 0 {
		return text + fmt.Sprintf(" %.2f |", r.cpu()/first.cpu())
	}
	return text + " |"
}
