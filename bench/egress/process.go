package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/Miosa-osa/miosa-env/internal/delay"
)

// process is a proxy that runs.
type process struct {
	setup
	ready
	cmd   *exec.Cmd // nil: there is no proxy
	stdin io.Closer // nil: it ends by a signal
}

// start starts a proxy. dir is for its files.
func start(ctx context.Context, c setup, dir string) (*process, error) {
	switch c.Name {
	case direct:
		return &process{setup: c}, nil
	case mitmproxy:
		return startMitmproxy(ctx, c, dir)
	case goproxy:
		path := filepath.Join(dir, goproxy)
		build := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-o", path, ".")
		build.Dir, build.Stderr = "bench/goproxy", os.Stderr
		if err := build.Run(); err != nil {
			return nil, fmt.Errorf("build bench/goproxy: %w", err)
		}
		return startWithSetup(exec.CommandContext(ctx, path), c)
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return startWithSetup(exec.CommandContext(ctx, self, serveCommand), c)
}

// startWithSetup starts a proxy that reads its setup from standard input.
func startWithSetup(cmd *exec.Cmd, c setup) (*process, error) {
	p := &process{setup: c, cmd: cmd}
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	p.stdin = stdin
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	if err := json.NewEncoder(stdin).Encode(c); err != nil {
		return nil, err
	}
	return p, json.NewDecoder(bufio.NewReader(stdout)).Decode(&p.ready)
}

// addon makes mitmproxy replace the placeholder, and stream bodies.
const addon = `
class Swap:
    def requestheaders(self, flow):
        flow.request.stream = True
        for name, text in list(flow.request.headers.items()):
            if %[1]q in text:
                flow.request.headers[name] = text.replace(%[1]q, %[2]q)
    def responseheaders(self, flow):
        flow.response.stream = True
addons = [Swap()]
`

// startMitmproxy starts mitmdump. It returns nil if that isn't installed.
func startMitmproxy(ctx context.Context, c setup, dir string) (*process, error) {
	path, err := exec.LookPath("mitmdump")
	if err != nil {
		return nil, nil //nolint:nilerr // it isn't needed
	}
	free, err := new(net.ListenConfig).Listen(ctx, "tcp", host+":0")
	if err != nil {
		return nil, err
	}
	p := &process{setup: c, ready: ready{Address: free.Addr().String()}}
	_ = free.Close()
	script, roots := filepath.Join(dir, "swap.py"), filepath.Join(dir, "roots.pem")
	if err := errors.Join(os.WriteFile(script, fmt.Appendf(nil, addon, placeholder, value), 0o600), os.WriteFile(roots, c.Roots, 0o600)); err != nil {
		return nil, err
	}
	_, port, _ := net.SplitHostPort(p.Address)
	p.cmd = exec.CommandContext(ctx, path, "--quiet", "--listen-host", host, "--listen-port", port, "--scripts", script,
		"--set", "confdir="+dir, "--set", "ssl_verify_upstream_trusted_ca="+roots, "--set", "flow_detail=0")
	p.cmd.Stderr = os.Stderr
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	for range 300 {
		if p.CA, err = os.ReadFile(filepath.Join(dir, "mitmproxy-ca-cert.pem")); err == nil {
			if c, err := new(net.Dialer).DialContext(ctx, "tcp", p.Address); err == nil {
				return p, c.Close()
			}
		}
		if err := delay.Sleep(ctx, 100*time.Millisecond); err != nil {
			return nil, err
		}
	}
	return nil, errors.New("mitmdump doesn't start")
}

// stop ends the proxy.
func (p *process) stop() {
	if p.cmd == nil {
		return
	}
	if p.stdin != nil {
		_ = p.stdin.Close()
	} else {
		_ = p.cmd.Process.Kill()
	}
	_ = p.cmd.Wait()
}

// time is the processor time of the proxy, which the kernel counts in nanoseconds for each thread.
func (p *process) time() (sum time.Duration, err error) {
	if p.cmd == nil {
		return 0, nil
	}
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", p.cmd.Process.Pid))
	if err != nil || len(files) == 0 {
		return 0, fmt.Errorf("no processor time of %s", p.Name)
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

// memory is the resident memory of the proxy, in bytes.
func (p *process) memory() (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(text), "VmRSS:")
	var kilobytes int64
	_, err = fmt.Sscan(rest, &kilobytes)
	return kilobytes << 10, err
}
