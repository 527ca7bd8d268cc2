package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/bench/quantile"
	"github.com/Miosa-osa/miosa-env/fetch"
	"github.com/Miosa-osa/miosa-env/internal/delay"
	"github.com/Miosa-osa/miosa-env/internal/devvault"
	"github.com/fsnotify/fsnotify"
)

const (
	maxRotation  = 20 * time.Millisecond // p99, from a rotation to the file and to the command
	rotationTime = 10 * time.Second      // for one, before it counts as lost
	rotationRest = 20 * time.Millisecond // between two: in the long run a key may make 100 requests a second
)

// rotation measures how long a rotation takes to reach an agent's env file, a command that follows the agent, and one that
// follows the vault, one after the other. The time starts before the request, so it includes the vault's own work.
func (c config) rotation(ctx context.Context, dir string, stdout io.Writer) (missed []string, err error) {
	fmt.Fprintf(stdout, "From a rotation at the vault, %d of each, to\n\n", c.rotations)
	tw := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tw, "\tp50\tp99\tmost\ttarget for p99\t")
	row := func(what string, times []time.Duration, target string) {
		ms := func(q float64) string { return fmt.Sprintf("%.2f ms", float64(quantile.Of(times, q))/1e6) }
		fmt.Fprintf(tw, "%-41s\t%s\t%s\t%s\t%s\t\n", what, ms(0.5), ms(0.99), ms(1), target)
	}
	var asked []time.Duration
	for _, place := range []struct {
		what  string
		watch watch
	}{
		{"the env file in its place", config.watchFile},
		{"a command restarted, following the agent", config.watchFollowerOfAgent},
		{"a command restarted, following the vault", config.watchFollowerOfVault},
	} {
		r, err := c.rotateAll(ctx, dir, place.what, place.watch)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", place.what, err)
		}
		row(place.what, r.took, "20 ms")
		asked = append(asked, r.asked...)
		if p99 := quantile.Of(r.took, 0.99); p99 > maxRotation {
			missed = append(missed, fmt.Sprintf("%s: p99 %s, at most %s wanted", place.what, p99.Round(10*time.Microsecond), maxRotation))
		}
	}
	row("the vault's response to the rotation", asked, "")
	if err := tw.Flush(); err != nil {
		return nil, err
	}
	fmt.Fprint(stdout, "\nA restart includes the end of the old command, at once after TERM, and the start of the shell that\n"+
		"prints the value. --settle is 0 here; its default adds 100 ms.\n\n"+
		"Other programs with their defaults, not run here: envconsul, consul-template and OpenBao's agent\n"+
		"254 to 280 s, Infisical's run 4.7 s, Doppler 1.13 s (docs/benchmarks.md)\n\n")
	return missed, nil
}

// watch starts to report arrivals on m to r.
type watch func(c config, ctx context.Context, m *machine, r *rotations) (stop func() error, err error)

// rotateAll makes all rotations of one kind, on a new machine.
func (c config) rotateAll(ctx context.Context, dir, name string, watch watch) (r *rotations, err error) {
	m, err := c.startMachine(ctx, dir, name, 5)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, m.stop()) }()
	r = &rotations{arrivals: make(chan arrival, 1024)} // more than one rotation has
	if r.tenant, err = m.vault.Tenant(); err != nil {
		return nil, err
	}
	defer r.tenant.Close()
	if r.secret, err = secretOf(ctx, r.tenant, variable(0)); err != nil {
		return nil, err
	}
	stop, err := watch(c, ctx, m, r)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	for i := range c.rotations {
		if err := r.rotate(ctx, fmt.Sprintf("value-of-rotation-%06d", i)); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// rotations are the rotations of one secret.
type rotations struct {
	tenant   *fetch.Client
	secret   string
	arrivals chan arrival
	asked    []time.Duration // until the vault's response
	took     []time.Duration // until the arrival
}

type arrival struct {
	value string
	at    time.Time
}

// rotate makes a rotation and waits for its arrival.
func (r *rotations) rotate(ctx context.Context, value string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, rotationTime, fmt.Errorf("a rotation hasn't arrived within %s", rotationTime))
	defer cancel()
	began := time.Now()
	if _, err := r.tenant.RotateSecret(ctx, r.secret, fetch.Rotation{Value: api.NewValue([]byte(value))}); err != nil {
		return err
	}
	r.asked = append(r.asked, time.Since(began))
	for {
		select {
		case got := <-r.arrivals:
			if got.value != value {
				continue
			}
			r.took = append(r.took, got.at.Sub(began))
			return delay.Sleep(ctx, rotationRest)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// watchFile reports each new content of an agent's env file.
func (c config) watchFile(ctx context.Context, m *machine, r *rotations) (stop func() error, err error) {
	if err := c.startAgent(ctx, m, true); err != nil {
		return nil, err
	}
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, err
	}
	if err := w.Add(filepath.Dir(m.file())); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	go func() {
		for event := range w.Events {
			at := time.Now()
			if event.Name != m.file() || !event.Has(fsnotify.Create) {
				continue
			}
			text, err := os.ReadFile(event.Name)
			if err != nil {
				continue // it has been replaced already
			}
			line, _, _ := bytes.Cut(text, []byte("\n"))
			_, value, _ := bytes.Cut(line, []byte("="))
			r.arrivals <- arrival{string(bytes.Trim(value, `"'`)), at}
		}
	}()
	return w.Close, nil
}

func (c config) watchFollowerOfAgent(ctx context.Context, m *machine, r *rotations) (func() error, error) {
	if err := c.startAgent(ctx, m, false); err != nil {
		return nil, err
	}
	return c.watchCommand(ctx, m.agentEnv(), r)
}

func (c config) watchFollowerOfVault(ctx context.Context, m *machine, r *rotations) (func() error, error) {
	return c.watchCommand(ctx, m.vaultEnv(), r)
}

// watchCommand starts a command that prints its value, and reports each line.
func (c config) watchCommand(ctx context.Context, env []string, r *rotations) (stop func() error, err error) {
	p, err := devvault.Run(ctx, env, nil, c.program("miosa-env"), "run", "--on-change", "restart", "--settle", "0s", "--only", variable(0),
		"--", "sh", "-c", `echo "$`+variable(0)+`"; exec sleep 600`)
	if err != nil {
		return nil, err
	}
	stop = func() error { return p.Stop(128 + int(syscall.SIGTERM)) }
	start, cancel := context.WithTimeout(ctx, devvault.StartTimeout)
	defer cancel()
	if _, err := p.Line(start); err != nil { // the value at the start
		return nil, errors.Join(fmt.Errorf("the command doesn't start: %w", err), stop())
	}
	go func() {
		for line := range p.Lines {
			r.arrivals <- arrival{line, time.Now()}
		}
	}()
	return stop, nil
}
