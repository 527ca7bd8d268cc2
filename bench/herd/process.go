package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/Miosa-osa/miosa-env/internal/delay"
)

// process is a running miosa-vault serve.
type process struct {
	address string // HOST:PORT
	metrics string // HOST:PORT
	cmd     *exec.Cmd
	log     *os.File
}

// limits are those that a vault for so many agents of one tenant needs: by default a tenant has a part of each.
func (c *config) limits() string {
	n := float64(c.agents)
	set := map[string]float64{
		"connections": 2*n + 3000, "tenant_connections": n + 1000, "tenant_waits": n + 1000, "waits": 2*n + 2000, "keyless_connections": n + 1000,
		"address_connections": n + 1000, "tenant_requests": n, "tenant_burst": 10 * n, "requests": n, "tenant_events": n, "events": n,
		"tenant_keys": n + 1000, "tenant_secrets": 3 * n, "tenant_bindings": 3*n + n*float64(c.bindings), "tenant_writes": 100_000, "key_requests": n + 1000, "key_burst": 10 * n,
	}
	var all []string
	for name, value := range set {
		all = append(all, name+"="+strconv.FormatFloat(value, 'f', -1, 64))
	}
	return strings.Join(all, " ")
}

// free returns an address on loopback that nobody listens at.
func free(ctx context.Context) (string, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// startAnywhere starts a vault at free addresses, and waits until it is ready.
func (c *config) startAnywhere(ctx context.Context, d *data, binary, transport string) (p *process, err error) {
	p = &process{}
	for _, address := range []*string{&p.address, &p.metrics} {
		if *address, err = free(ctx); err != nil {
			return nil, err
		}
	}
	return p, c.start(ctx, d, binary, transport, p)
}

// start starts a vault at the addresses of p, and waits until it is ready.
func (c *config) start(ctx context.Context, d *data, binary, transport string, p *process) (err error) {
	args := []string{"serve", "--data-dir", d.dataDir(), "--root-key-file", d.rootKey(), "--allow-shared", "--log-level", "warn",
		"--addr", p.address, "--metrics-addr", p.metrics}
	if transport == "tls" {
		args = append(args, "--tls-cert", d.cert(), "--tls-key", d.certKey())
	}
	if p.log, err = os.OpenFile(filepath.Join(d.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err != nil {
		return err
	}
	p.cmd = exec.Command(binary, args...) //nolint:noctx // stop or kill ends it
	p.cmd.Env = append(os.Environ(), "MIOSA_VAULT_DATABASE="+d.database, "MIOSA_VAULT_LIMITS="+c.limits())
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	if err := p.cmd.Start(); err != nil {
		return err
	}
	const patience = time.Minute
	for end := time.Now().Add(patience); ; {
		if _, err = p.figures(ctx); err == nil {
			return nil
		}
		if time.Now().After(end) || p.cmd.Process.Signal(syscall.Signal(0)) != nil {
			text, _ := os.ReadFile(p.log.Name())
			return errors.Join(fmt.Errorf("%s isn't ready: %w\n%s", binary, err, text), p.end(syscall.SIGKILL))
		}
		if err := delay.Sleep(ctx, 10*time.Millisecond); err != nil {
			return errors.Join(err, p.end(syscall.SIGKILL))
		}
	}
}

// end sends a signal to the vault, and waits until it has ended.
func (p *process) end(s syscall.Signal) error {
	err := p.cmd.Process.Signal(s)
	_ = p.cmd.Wait() // its exit code is the signal's
	return errors.Join(err, p.log.Close())
}

// figures returns the vault's metrics without labels, by name.
func (p *process) figures(ctx context.Context) (map[string]float64, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.metrics+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	answer, err := http.DefaultClient.Do(q)
	if err != nil {
		return nil, err
	}
	defer func() { _ = answer.Body.Close() }()
	all := map[string]float64{}
	lines := bufio.NewScanner(answer.Body)
	for lines.Scan() {
		name, number, ok := strings.Cut(lines.Text(), " ")
		if value, err := strconv.ParseFloat(number, 64); ok && err == nil {
			all[name] = value
		}
	}
	return all, lines.Err()
}

// memory is what a process takes, in bytes.
type memory struct {
	resident     int64 // now
	proportional int64 // of what it shares with other processes, its part; 0: this user may not know
	peak         int64 // the most that was resident since the last reset of the peak
	heap, stacks int64 // of Go's, in use
}

func (m memory) String() string {
	mb := func(n int64) string { return strconv.FormatFloat(float64(n)/1e6, 'f', 0, 64) }
	return fmt.Sprintf("%s MB (PSS %s, Go's heap %s and stacks %s)", mb(m.resident), mb(m.proportional), mb(m.heap), mb(m.stacks))
}

// memory returns what the vault takes.
func (p *process) memory(ctx context.Context) (m memory, err error) {
	all, err := p.figures(ctx)
	if err != nil {
		return m, err
	}
	m.heap, m.stacks = int64(all["go_memstats_heap_inuse_bytes"]), int64(all["go_memstats_stack_inuse_bytes"])
	status, err := os.ReadFile(p.proc("status"))
	if err != nil {
		return m, err
	}
	m.resident, m.peak = kilobytes(status, "VmRSS:"), kilobytes(status, "VmHWM:")
	if rollup, err := os.ReadFile(p.proc("smaps_rollup")); err == nil {
		m.proportional = kilobytes(rollup, "Pss:")
	}
	return m, nil
}

// resetPeak makes memory.peak start again, if this user may do that.
func (p *process) resetPeak() { _ = os.WriteFile(p.proc("clear_refs"), []byte("5"), 0) }

func (p *process) proc(name string) string {
	return filepath.Join("/proc", strconv.Itoa(p.cmd.Process.Pid), name)
}

// kilobytes returns a field of a file in /proc, in bytes; 0: it has none.
func kilobytes(text []byte, field string) int64 {
	for line := range bytes.Lines(text) {
		if rest, ok := bytes.CutPrefix(line, []byte(field)); ok {
			n, _ := strconv.ParseInt(string(bytes.Fields(rest)[0]), 10, 64)
			return n << 10
		}
	}
	return 0
}

// cpu returns the processor time that a process has used.
func cpu(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := bytes.Cut(text, []byte(") ")) // the name may contain spaces
	fields := bytes.Fields(rest)
	const user, system, tick = 11, 12, 10 * time.Millisecond
	if len(fields) <= system {
		return 0, io.ErrUnexpectedEOF
	}
	var ticks int64
	for _, f := range fields[user : system+1] {
		n, err := strconv.ParseInt(string(f), 10, 64)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return time.Duration(ticks) * tick, nil
}
