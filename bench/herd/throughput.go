package main

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
)

const (
	clients       = 64               // at the same time
	throughputFor = 10 * time.Second // of each measurement, at most
	minThroughput = 0.7              // of the limit
)

// measureThroughput measures how many writes and reveals a vault does in a second, next to what the database does without a vault.
func (c *config) measureThroughput(ctx context.Context, d *data, binary string, out io.Writer) (missed []string, err error) {
	p, err := c.startAnywhere(ctx, d, binary, "http")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, p.end(syscall.SIGTERM)) }()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: clients}}
	defer client.CloseIdleConnections()
	l := &load{data: d, client: client, base: "http://" + p.address + "/api/v1/egress"}
	if err := l.prepare(); err != nil {
		return nil, err
	}
	for _, kind := range []struct {
		name string
		one  func(context.Context, int) error
		rows func(context.Context, *sql.DB) (inserts, error)
	}{{"writes", l.write, rowsOfWrite}, {"reveals", l.reveal, rowsOfReveal}} {
		before, err := cpu(p.cmd.Process.Pid)
		if err != nil {
			return nil, err
		}
		done, took, err := together(ctx, len(d.agents), kind.one)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", kind.name, err)
		}
		after, err := cpu(p.cmd.Process.Pid)
		if err != nil {
			return nil, err
		}
		limit, what, err := d.limit(ctx, kind.rows)
		if err != nil {
			return nil, err
		}
		rate := float64(done) / took.Seconds()
		fmt.Fprintf(out, "  %-21s %.0f/s, %s of CPU of the vault each; %s %.0f/s: %.2f\n", kind.name, rate,
			((after - before) / time.Duration(done)).Round(time.Microsecond), what, limit, rate/limit)
		if rate < minThroughput*limit {
			missed = append(missed, fmt.Sprintf("%s: %.0f %s/s, at least %.0f %% of %.0f wanted", d.name, rate, kind.name, 100*minThroughput, limit))
		}
	}
	fmt.Fprintln(out)
	return missed, nil
}

// together calls one with 0, 1, and so on up to n, by many clients at the same time, and returns how many calls ended in time.
func together(ctx context.Context, n int, one func(context.Context, int) error) (done int, took time.Duration, err error) {
	var next atomic.Int64
	var all sync.WaitGroup
	failed := make(chan error, clients)
	began := time.Now()
	for range clients {
		all.Go(func() {
			for time.Since(began) < throughputFor {
				i := int(next.Add(1)) - 1
				if i >= n {
					next.Add(-1)
					return
				}
				if err := one(ctx, i); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	all.Wait()
	close(failed)
	return int(next.Load()), time.Since(began), <-failed
}

// load are the requests to a vault.
type load struct {
	*data
	client  *http.Client
	base    string
	openers []*api.Opener
}

// prepare generates the key pairs, since clients are on other machines than the vault that is measured.
func (l *load) prepare() (err error) {
	l.openers = make([]*api.Opener, len(l.agents))
	for i, a := range l.agents {
		if l.openers[i], err = api.NewOpener(a.Resource); err != nil {
			return err
		}
	}
	return nil
}

// write stores a secret and binds it to the resource of an agent.
func (l *load) write(ctx context.Context, i int) error {
	r := l.agents[i].Resource
	body, err := json.Marshal(map[string]string{
		"name": fmt.Sprintf("throughput %d", i), "value": someValue(i).Reveal(), "type": "api_key", "scope": "tenant",
		"resource_type": r.Type, "resource_id": r.ID, "expose_as_env": writtenEnv,
	})
	if err != nil {
		return err
	}
	_, err = l.post(ctx, "/secrets", l.tenantKey.Reveal(), body)
	return err
}

// reveal reveals the set of an agent, and opens it.
func (l *load) reveal(ctx context.Context, i int) error {
	q := l.openers[i].Request()
	body, err := l.post(ctx, "/bindings/reveal", l.agents[i].Key, q.AppendJSON(nil))
	if err != nil {
		return err
	}
	answer, err := api.DecodeRevealAnswer(body)
	if err != nil {
		return err
	}
	set, err := l.openers[i].Open(answer)
	set.Wipe()
	return err
}

func (l *load) post(ctx context.Context, path, key string, body []byte) ([]byte, error) {
	q, err := http.NewRequestWithContext(ctx, http.MethodPost, l.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	q.Header.Set("Authorization", "Bearer "+key)
	q.Header.Set("Content-Type", "application/json")
	answer, err := l.client.Do(q)
	if err != nil {
		return nil, err
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(answer.Body, api.MaxRevealAnswer))
	if err == nil && answer.StatusCode >= http.StatusMultipleChoices {
		err = fmt.Errorf("status %d: %s", answer.StatusCode, text)
	}
	return text, err
}

// limit is how many transactions a second the database does that insert the same rows: with PostgreSQL, pgbench's; with SQLite, how often the
// disk syncs a file, which each commit needs.
func (d *data) limit(ctx context.Context, rows func(context.Context, *sql.DB) (inserts, error)) (perSecond float64, what string, err error) {
	if d.database == "" {
		perSecond, err = syncs(filepath.Join(d.dir, "syncs"))
		return perSecond, "syncs of the disk", err
	}
	perSecond, err = d.pgbench(ctx, rows)
	return perSecond, "pgbench", err
}

// syncs returns how many pages of SQLite's the disk writes and syncs in a second, one after the other.
func syncs(path string) (perSecond float64, err error) {
	const page, pages = 4096, 4096                                                        // of a write-ahead log, which is overwritten from its start
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY|syscall.O_DSYNC, 0o600) // as fdatasync after each write
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(path)) }()
	text := bytes.Repeat([]byte{1}, page*pages)
	if _, err := f.Write(text); err != nil {
		return 0, err
	}
	n := 0
	began := time.Now()
	for ; time.Since(began) < throughputFor/2; n++ {
		if _, err := f.WriteAt(text[:page], int64(n%pages)*page); err != nil {
			return 0, err
		}
	}
	return float64(n) / time.Since(began).Seconds(), nil
}
