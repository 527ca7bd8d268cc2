package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/bench/quantile"
	"github.com/Miosa-osa/miosa-env/fetch"
	"github.com/Miosa-osa/miosa-env/internal/delay"
	"github.com/Miosa-osa/miosa-env/internal/test/reveals"
)

// The targets.
const (
	maxWaiting    = 300e6 // bytes of a vault at which 10,000 agents wait
	maxWaitingTLS = 450e6
	maxWave       = 3 * time.Second // until 99 % of 10,000 agents have a new value
	maxWaveCPU    = 4 * time.Second // of the vault
	maxSingle     = 5 * time.Millisecond
)

// spread is the time over which the agents begin.
const spread = 10 * time.Second

// patience is how long agents may take to wait.
const patience = 3 * time.Minute

// measurement is a vault and its agents.
type measurement struct {
	*config
	data  *data
	vault *process
	group *reveals.Group
	out   io.Writer

	tenant *fetch.Client

	mu      sync.Mutex // guards the fields below
	version int64      // of the secret that agents are to get
	secret  string     // its id
	missing int        // agents that don't have it yet
	begun   time.Time
	took    []time.Duration
	all     chan struct{} // closed when no agent is missing
}

// waiting measures a vault at which all agents wait.
func (c *config) waiting(ctx context.Context, d *data, binary, transport string, out io.Writer) (missed []string, err error) {
	m := &measurement{config: c, data: d, out: out}
	if m.vault, err = c.startAnywhere(ctx, d, binary, transport); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, m.vault.end(syscall.SIGTERM)) }()
	conf := reveals.Config{Vaults: []string{m.vault.address}, Agents: d.agents, Opened: m.opened, Spread: spread}
	base, most := "http://", int64(maxWaiting)
	if transport == "tls" {
		conf.TLS, base, most = d.trust, "https://", maxWaitingTLS
	}
	if m.tenant, err = fetch.New(fetch.Config{BaseURL: base + m.vault.address, Key: d.tenantKey, CAFile: d.root(), Timeout: time.Minute}); err != nil {
		return nil, err
	}
	if m.group, err = reveals.New(conf); err != nil {
		return nil, err
	}
	running, stop := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() { m.group.Run(running); close(ended) }()
	defer func() { stop(); <-ended }()

	missed, err = m.run(ctx, binary, transport, most)
	counts := m.group.Counts()
	fmt.Fprintf(out, "  agents opened %d sets and got %d times none; %d connections failed, other statuses %v, %d sets did not open, %d had lower versions\n\n",
		counts.Opened, counts.Unchanged, counts.Failed, counts.Refused, counts.Unopened, counts.Backwards)
	if err != nil {
		return nil, errors.Join(err, fmt.Errorf("%+v", counts))
	}
	if counts.Unopened > 0 || counts.Backwards > 0 {
		missed = append(missed, fmt.Sprintf("sets that don't open, or have lower versions than before: %+v", counts))
	}
	return missed, nil
}

func (m *measurement) run(ctx context.Context, binary, transport string, most int64) (missed []string, err error) {
	miss := func(bad bool, format string, args ...any) {
		if bad {
			missed = append(missed, m.data.name+" over "+transport+": "+fmt.Sprintf(format, args...))
		}
	}
	began := time.Now()
	if err := m.allWait(ctx); err != nil {
		return nil, err
	}
	fmt.Fprintf(m.out, "  all wait after        %s\n", time.Since(began).Round(10*time.Millisecond))
	first, err := m.printMemory(ctx, "memory, waiting")
	if err != nil {
		return nil, err
	}
	miss(first.resident > most, "%d MB for %d agents, at most %d wanted", first.resident/1e6, m.agents, most/1e6)
	for range m.waves {
		took, used, err := m.wave(ctx)
		if err != nil {
			return nil, err
		}
		p99 := quantile.Of(took, 0.99)
		miss(p99 > maxWave, "p99 of a rotation for all is %s, at most %s wanted", p99, maxWave)
		miss(used > maxWaveCPU, "a rotation for all takes %s of CPU, at most %s wanted", used, maxWaveCPU)
		if _, err = m.printMemory(ctx, "memory, after it"); err != nil {
			return nil, err
		}
	}
	single, err := m.rotateSingle(ctx)
	if err != nil {
		return nil, err
	}
	miss(quantile.Of(single, 0.5) > maxSingle, "a rotation for one agent takes %s, at most %s wanted", quantile.Of(single, 0.5), maxSingle)
	if err := m.watch(ctx); err != nil {
		return nil, err
	}
	after, err := m.printMemory(ctx, "memory, at last")
	if err != nil {
		return nil, err
	}
	miss(after.resident > most, "%d MB for %d agents after rotations, at most %d wanted", after.resident/1e6, m.agents, most/1e6)
	return missed, m.restart(ctx, binary, transport)
}

// waitingMetric is a metric of the vault.
const waitingMetric = "miosa_vault_waiting" + "_reveals" // in two parts, since tests list the files that define a metric

// allWait waits until the vault says that all agents wait.
func (m *measurement) allWait(ctx context.Context) error {
	_, err := m.allWaitAt(ctx, []*process{m.vault})
	return err
}

// printMemory prints the vault's memory now, and again after some time.
func (m *measurement) printMemory(ctx context.Context, what string) (settled memory, err error) {
	for _, wait := range []time.Duration{0, m.settle} {
		if err := delay.Sleep(ctx, wait); err != nil {
			return settled, err
		}
		if settled, err = m.vault.memory(ctx); err != nil {
			return settled, err
		}
		fmt.Fprintf(m.out, "  %-21s %s; after %s, peak %d MB\n", what, settled, wait, settled.peak/1e6)
	}
	m.vault.resetPeak()
	return settled, nil
}

// opened is called for each set that an agent has opened.
func (m *measurement) opened(_ int, set api.Snapshot) {
	now := time.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, b := range set.Bound {
		if b.SecretID == m.secret && b.Version == m.version {
			m.took = append(m.took, now.Sub(m.begun))
			if m.missing--; m.missing == 0 {
				close(m.all)
			}
		}
	}
}

// rotate rotates a secret that so many agents have, and waits until all of them have opened the new value. took are the times from the
// request until then.
func (m *measurement) rotate(ctx context.Context, secret string, agents int) (took []time.Duration, err error) {
	before, err := m.tenant.Secret(ctx, secret)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	m.secret, m.version, m.missing, m.took, m.all, m.begun = secret, before.Version+1, agents, nil, make(chan struct{}), time.Now()
	all := m.all
	m.mu.Unlock()
	if _, err := m.tenant.RotateSecret(ctx, secret, fetch.Rotation{Value: someValue(int(before.Version))}); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	select {
	case <-all:
	case <-ctx.Done():
		m.mu.Lock()
		defer m.mu.Unlock()
		return nil, fmt.Errorf("%d agents don't have the new value: %w", m.missing, ctx.Err())
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.took, nil
}

// wave measures a rotation of a secret that all agents have, until all of them wait again. used is the processor time of the vault.
func (m *measurement) wave(ctx context.Context) (took []time.Duration, used time.Duration, err error) {
	vaultBefore, err := cpu(m.vault.cmd.Process.Pid)
	if err != nil {
		return nil, 0, err
	}
	clientBefore, _ := cpu(os.Getpid())
	if took, err = m.rotate(ctx, m.data.shared, m.agents); err != nil {
		return nil, 0, err
	}
	if err := m.allWait(ctx); err != nil {
		return nil, 0, err
	}
	vaultAfter, err := cpu(m.vault.cmd.Process.Pid)
	if err != nil {
		return nil, 0, err
	}
	clientAfter, _ := cpu(os.Getpid())
	used = vaultAfter - vaultBefore
	fmt.Fprintf(m.out, "  rotation for all      p50 %s, p99 %s, all %s; CPU of the vault %s, of the agents %s\n",
		round(quantile.Of(took, 0.5)), round(quantile.Of(took, 0.99)), round(slices.Max(took)), used, clientAfter-clientBefore)
	return took, used, nil
}

// rotateSingle rotates secrets that one agent each has.
func (m *measurement) rotateSingle(ctx context.Context) (all []time.Duration, err error) {
	for i := range m.single {
		took, err := m.rotate(ctx, m.data.own[i%m.agents], 1)
		if err != nil {
			return nil, err
		}
		all = append(all, took...)
	}
	fmt.Fprintf(m.out, "  rotation for one      p50 %s, p99 %s\n", round(quantile.Of(all, 0.5)), round(quantile.Of(all, 0.99)))
	return all, nil
}

// watch measures the CPU of the vault while all agents wait, and its memory for as long as the settings say.
func (m *measurement) watch(ctx context.Context) error {
	pid := m.vault.cmd.Process.Pid
	before, err := cpu(pid)
	if err != nil {
		return err
	}
	if err := delay.Sleep(ctx, m.idle); err != nil {
		return err
	}
	after, err := cpu(pid)
	if err != nil {
		return err
	}
	fmt.Fprintf(m.out, "  CPU while all wait    %.2f %% of one processor\n", 100*float64(after-before)/float64(m.idle))
	if m.hold == 0 {
		return nil
	}
	var resident []int64
	for end := time.Now().Add(m.hold); time.Now().Before(end); {
		now, err := m.vault.memory(ctx)
		if err != nil {
			return err
		}
		resident = append(resident, now.resident)
		if err := delay.Sleep(ctx, min(10*time.Second, time.Until(end))); err != nil {
			return err
		}
	}
	fmt.Fprintf(m.out, "  memory during %-7s %d to %d MB, at the end %d MB\n", m.hold, slices.Min(resident)/1e6, slices.Max(resident)/1e6, resident[len(resident)-1]/1e6)
	return nil
}

// restart kills the vault, starts it again, and measures the time until all agents wait.
func (m *measurement) restart(ctx context.Context, binary, transport string) error {
	if err := m.vault.end(syscall.SIGKILL); err != nil {
		return err
	}
	killed := time.Now()
	if err := m.start(ctx, m.data, binary, transport, m.vault); err != nil {
		return err
	}
	ready := time.Since(killed)
	if err := m.allWait(ctx); err != nil {
		return err
	}
	fmt.Fprintf(m.out, "  killed and started    ready after %s, all wait after %s\n", round(ready), round(time.Since(killed)))
	return nil
}

func round(d time.Duration) time.Duration {
	if d > time.Second {
		return d.Round(10 * time.Millisecond)
	}
	return d.Round(10 * time.Microsecond)
}
