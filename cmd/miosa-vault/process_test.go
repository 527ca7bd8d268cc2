package main

import (
	"encoding/json"
	"os/exec"
	"strings"
	"time"

	"github.com/Miosa-osa/miosa-env/internal/test/buffer"
	"github.com/Miosa-osa/miosa-env/internal/test/poll"
)

// patience is far longer than any step takes.
const patience = 30 * time.Second

// process is a running vault.
type process struct {
	*exec.Cmd
	ended    chan struct{} // closed when Wait has returned
	out, err buffer.Buffer
}

// fataler is a *testing.T or a testscript.
type fataler interface {
	Fatalf(format string, args ...any)
}

// start starts the command and collects its output for text.
func (p *process) start() error {
	p.ended = make(chan struct{})
	p.Stdout, p.Stderr = &p.out, &p.err
	if err := p.Start(); err != nil {
		return err
	}
	go func() { _ = p.Wait(); close(p.ended) }()
	return nil
}

// kill kills the process and waits for its end.
func (p *process) kill() {
	_ = p.Process.Kill()
	<-p.ended
}

// text returns the output so far.
func (p *process) text() (out, err string) {
	return p.out.String(), p.err.String()
}

// await polls until done returns true or the vault has ended.
func (p *process) await(t fataler, what string, done func() bool) {
	var came, ended bool
	poll.Within(patience, func() bool {
		select {
		case <-p.ended:
			ended = true
		default:
		}
		came = done()
		return came || ended
	})
	if !came {
		_, text := p.text()
		t.Fatalf("not within %s (the vault ended: %t): %s: %s", patience, ended, what, text)
	}
}

// serves waits until serve, with --log-format json, logs that it accepts connections, and returns its addresses.
func (p *process) serves(t fataler) (baseURL, addr string) {
	var line struct {
		Message, Addr string
		TLS           bool
	}
	p.await(t, "it serves", func() bool {
		_, text := p.text()
		for l := range strings.Lines(text) {
			if json.Unmarshal([]byte(l), &line) == nil && line.Message == "serving" {
				return true
			}
		}
		return false
	})
	scheme := map[bool]string{false: "http", true: "https"}[line.TLS]
	return scheme + "://" + line.Addr + "/api/v1", line.Addr
}
