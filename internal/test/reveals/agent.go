package reveals

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/delay"
)

// answerTime is how long a vault may take for an answer, beside the wait.
const answerTime = 30 * time.Second

// agent is an agent of a group.
type agent struct {
	Agent
	group    *Group
	number   int // its index
	vault    int // index of the vault that it uses
	opener   *api.Opener
	conn     net.Conn // nil: not connected
	etag     string   // of its set; "": none yet
	versions map[string]int64
	troubled bool // the last request failed: the next one doesn't wait, as an agent's
}

// run reveals until ctx ends.
func (a *agent) run(ctx context.Context) {
	defer a.close()
	pauses := delay.NewBackoff(firstPause, longestPause)
	for ctx.Err() == nil {
		asked, err := a.reveal(ctx)
		a.troubled = err != nil
		if err == nil {
			pauses.Reset()
			continue
		}
		if ctx.Err() == nil {
			a.group.note(err)
		}
		_ = delay.Sleep(ctx, pauses.NextRandom(asked)) // its error is ctx's
	}
}

func (a *agent) close() {
	if a.conn != nil {
		_ = a.conn.Close()
	}
	a.conn = nil
}

// connect connects to the vault that accepts.
func (a *agent) connect(ctx context.Context) (err error) {
	const timeout = 3 * time.Second
	for range a.group.conf.Vaults {
		d := net.Dialer{Timeout: timeout}
		address := a.group.conf.Vaults[a.vault]
		if a.conn, err = d.DialContext(ctx, "tcp", address); err == nil {
			break
		}
		a.conn = nil
		a.vault = (a.vault + 1) % len(a.group.conf.Vaults)
	}
	if err != nil || a.group.conf.TLS == nil {
		return err
	}
	secure := tls.Client(a.conn, a.group.conf.TLS)
	_ = a.conn.SetDeadline(time.Now().Add(answerTime))
	a.conn = secure
	return secure.HandshakeContext(ctx)
}

// readers are for responses, since an agent needs one only now and then.
var readers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, 8<<10) }}

// reveal sends one reveal, and takes its answer. asked is the pause that a refusal asks for.
func (a *agent) reveal(ctx context.Context) (asked time.Duration, err error) {
	g := a.group
	broken := func(err error) (time.Duration, error) {
		a.close()
		if ctx.Err() == nil {
			g.failed.Add(1)
		}
		return 0, err
	}
	if a.conn == nil {
		if err := a.connect(ctx); err != nil {
			return broken(err)
		}
	}
	conn := a.conn
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	wait := g.conf.Wait
	if a.etag == "" || a.troubled {
		wait = 0
	}
	_ = conn.SetDeadline(time.Now().Add(wait + answerTime))
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	if _, err := conn.Write(a.request(wait)); err != nil {
		return broken(err)
	}
	first, err := a.firstByte(wait > 0)
	if err != nil {
		return broken(err)
	}
	r := readers.Get().(*bufio.Reader)
	defer readers.Put(r)
	r.Reset(io.MultiReader(bytes.NewReader(first), conn))
	answer, err := http.ReadResponse(r, nil)
	if err != nil {
		return broken(err)
	}
	body, err := io.ReadAll(io.LimitReader(answer.Body, api.MaxRevealAnswer))
	_ = answer.Body.Close()
	if err != nil {
		return broken(err)
	}
	if answer.Close {
		a.close()
	}
	switch {
	case answer.StatusCode == http.StatusNotModified && a.etag != "":
		g.unchanged.Add(1)
		return 0, nil
	case answer.StatusCode != http.StatusOK:
		g.refuse(answer.StatusCode)
		seconds, _ := strconv.Atoi(answer.Header.Get("Retry-After"))
		return time.Duration(seconds) * time.Second, fmt.Errorf("status %d: %s", answer.StatusCode, bytes.TrimSpace(body))
	}
	return 0, a.take(body)
}

// request is the request of a reveal.
func (a *agent) request(wait time.Duration) []byte {
	q := a.opener.Request()
	q.Etag, q.WaitSeconds = a.etag, int(wait/time.Second)
	body := q.AppendJSON(nil)
	b := make([]byte, 0, len(body)+512)
	b = fmt.Appendf(b, "POST /api/v1/egress/bindings/reveal HTTP/1.1\r\nHost: %s\r\nUser-Agent: miosa-env\r\nContent-Length: %d\r\n"+
		"Accept: application/json\r\nAccept-Encoding: identity\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\n\r\n",
		a.group.conf.Vaults[a.vault], len(body), a.Key)
	return append(b, body...)
}

// firstByte waits for the answer.
func (a *agent) firstByte(waiting bool) ([]byte, error) {
	if waiting {
		a.group.waiting.Add(1)
		defer a.group.waiting.Add(-1)
	}
	first := make([]byte, 1)
	_, err := a.conn.Read(first)
	return first, err
}

// take opens a set.
func (a *agent) take(body []byte) error {
	g := a.group
	answer, err := api.DecodeRevealAnswer(body)
	var set api.Snapshot
	if err == nil {
		set, err = a.opener.Open(answer)
	}
	if err != nil {
		g.unopened.Add(1)
		return err
	}
	defer set.Wipe()
	for _, b := range set.Bound {
		if b.Version < a.versions[b.SecretID] {
			g.backwards.Add(1)
			return errors.New("a lower version of a secret than before")
		}
		a.versions[b.SecretID] = b.Version
	}
	if a.etag == "" {
		g.holding.Add(1)
	}
	a.etag = set.Etag
	g.opened.Add(1)
	if g.conf.Opened != nil {
		g.conf.Opened(a.number, set)
	}
	return nil
}
