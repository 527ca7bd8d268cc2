package attacktest

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
)

// loopVariable makes this program run a loop instead of tests.
const loopVariable = "MIOSA_ATTACK_LOOP"

// loops are the attacks, by the names of their tests.
var loops = map[string]func(context.Context, *attacker){}

// attacker is the process that attacks. It is encoded as JSON for it.
type attacker struct {
	Clients []client       // with the keys that the attack uses
	IDs     []string       // of objects that the attack uses
	Refused map[string]int // by the limit that the vault named, or by the status

	mu *sync.Mutex // guards Refused
}

// client sends requests with one key.
type client struct {
	target
	Key string
}

var transport = &http.Transport{MaxIdleConnsPerHost: 1000, DialContext: dialer().DialContext}

// dialer dials from another address than the victim's, in the process of an attack.
func dialer() *net.Dialer {
	d := &net.Dialer{Timeout: 5 * time.Second}
	if os.Getenv(loopVariable) != "" && runtime.GOOS == "linux" {
		d.LocalAddr = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}
	}
	return d
}

// send sends a request with body as JSON. path is below the base URL or, with a leading "//", below the root.
func (c client) send(method, path string, body any) (status int, text []byte, err error) {
	var sent io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return 0, nil, err
		}
		sent = bytes.NewReader(b)
	}
	url := c.URL + path
	if root, ok := strings.CutPrefix(path, "//"); ok {
		url = strings.TrimSuffix(c.URL, "api/v1") + root
	}
	req, err := http.NewRequestWithContext(context.Background(), method, url, sent)
	if err != nil {
		return 0, nil, err
	}
	if c.Key != "" {
		req.Header.Set("Authorization", "Bearer "+c.Key)
	}
	res, err := (&http.Client{Transport: transport, Timeout: 2 * time.Minute}).Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = res.Body.Close() }()
	text, err = io.ReadAll(res.Body)
	return res.StatusCode, text, err
}

// runLoop runs a loop for the attacker on standard input, until TERM, and writes the attacker to standard output.
func runLoop(name string) int {
	if err := becomeIdle(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	a := attacker{mu: new(sync.Mutex)}
	if err := json.NewDecoder(os.Stdin).Decode(&a); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	a.Refused = map[string]int{}
	ctx, stop := notifyContext()
	defer stop()
	loops[name](ctx, &a)
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := json.NewEncoder(os.Stdout).Encode(&a); err != nil {
		return 1
	}
	return 0
}

// workers calls do in n goroutines until ctx ends, with a pause after each call.
func (a *attacker) workers(ctx context.Context, n int, pause time.Duration, do func(worker, turn int)) {
	var running sync.WaitGroup
	for worker := range n {
		running.Go(func() {
			for turn := 0; ctx.Err() == nil; turn++ {
				do(worker, turn)
				select {
				case <-ctx.Done():
				case <-time.After(pause):
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { running.Wait(); close(done) }()
	<-ctx.Done()
	select {
	case <-done:
	case <-time.After(3 * time.Second): // a request may wait longer
	}
}

// send sends a request and counts its refusal.
func (a *attacker) send(c client, method, path string, body any) (status int, text []byte) {
	status, text, err := c.send(method, path, body)
	switch {
	case err != nil:
		a.count("error")
	case status/100 != 2 && status != http.StatusNotModified:
		a.refused(status, text)
	}
	return status, text
}

func (a *attacker) refused(status int, text []byte) {
	var body api.ErrorBody
	if json.Unmarshal(text, &body) == nil {
		a.count(cmp.Or(body.Limit, fmt.Sprint(status)))
	}
}

func (a *attacker) count(what string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.Refused[what]++
}

// dial opens a connection and sends text on it.
func (a *attacker) dial(addr, text string) net.Conn {
	conn, err := dialer().Dial("tcp", addr)
	if err != nil {
		a.count("error")
		return nil
	}
	if _, err := io.WriteString(conn, text); err != nil {
		a.count("error")
	}
	return conn
}

// request is the request of a reveal of a sandbox. With an etag it waits for a change.
func request(sandbox, etag string, wait int) (api.RevealRequest, error) {
	opener, err := api.NewOpener(api.Resource{Type: api.Sandbox, ID: sandbox})
	if err != nil {
		return api.RevealRequest{}, err
	}
	ask := opener.Request()
	ask.Etag, ask.WaitSeconds = etag, wait
	return ask, nil
}
