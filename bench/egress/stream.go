package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
)

// streams is how many streams are open at the same time.
const streams = 1000

// openStreams opens streams through a proxy, and returns how much more memory it takes then, in bytes.
func openStreams(ctx context.Context, p *process, up *upstream, h2 bool) (int64, error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	client := p.client(h2, true)
	defer client.CloseIdleConnections()
	k := kind{}
	if err := k.request(ctx, client, p, up); err != nil {
		return 0, err
	}
	before, err := p.memory()
	if err != nil {
		return 0, err
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	var bodies []io.Closer
	var failed error
	defer func() {
		stop()
		for _, b := range bodies {
			_ = b.Close()
		}
	}()
	for range 20 {
		all.Go(func() {
			for range streams / 20 {
				body, err := openStream(ctx, client, k.token(p), up)
				mu.Lock()
				if failed = errors.Join(failed, err); err == nil {
					bodies = append(bodies, body)
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	if failed != nil {
		return 0, failed
	}
	after, err := p.memory()
	return after - before, err
}

// openStream sends the request of a stream, and waits for its first event.
func openStream(ctx context.Context, client *http.Client, token string, up *upstream) (io.Closer, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, up.url(pathStream), http.NoBody)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	res, err := client.Do(r)
	if err != nil {
		return nil, err
	}
	if _, err := io.ReadFull(res.Body, make([]byte, len("data: 1\n\n"))); err != nil {
		return nil, fmt.Errorf("%s: %w", res.Status, err)
	}
	return res.Body, nil
}
