package attacktest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/internal/needs"
	"github.com/Miosa-osa/miosa-env/internal/test/poll"
)

const (
	// noise is added to the allowed time of a reveal: other programs use the same processors.
	noise = 25 * time.Millisecond
	// busy is the share of the processors from which on, if other programs use it, the time of reveals isn't judged.
	busy = 0.2
	// maxMemory is the most memory that a vault may take.
	maxMemory = 256 << 20
	// attempts is how often an attack is repeated, on a new vault, if the victim's reveals were slow. A vault that
	// lets one tenant slow others fails all of them; a busy machine doesn't.
	attempts = 3
)

// attack is an attack of one tenant.
type attack struct {
	flags   []string                                          // of the vault
	prepare func(t *testing.T, v *vault, own client) attacker // own is a tenant key of the attacker; nil: uses own only
	ready   func(t *testing.T, v *vault)                      // waits until the attack has begun; nil: it has at once
	limits  []string                                          // that the vault must name to the attacker, or count
	after   func(t *testing.T, v *vault)                      // nil: nothing more to check
}

// duration is how long an attack takes.
func duration(t *testing.T) time.Duration {
	t.Helper()
	usual := 10
	if testing.Short() {
		usual = 3
	}
	return time.Duration(needs.Number(t, "MIOSA_ATTACK_SECONDS", usual)) * time.Second
}

// run runs the attack of the test, whose loop is in loops, while the victim's values are revealed.
func (a attack) run(t *testing.T) {
	t.Helper()
	for try := 1; ; try++ {
		slow := a.try(t)
		if slow == "" {
			return
		}
		if try == attempts {
			t.Fatal(slow)
		}
		t.Log(slow + "; trying again")
	}
}

// try returns a text if the victim's reveals were slow.
func (a attack) try(t *testing.T) (slow string) {
	t.Helper()
	v := start(t, a.flags...)
	victim := v.tenant(t, "victim")
	for i := range 5 {
		put(t, victim, fmt.Sprint("SECRET_", i), "0123456789abcdef0123456789abcdef", "victim")
	}
	reader := resourceKey(t, victim, "victim")
	own := v.tenant(t, "attacker")
	from := attacker{Clients: []client{own}}
	if a.prepare != nil {
		from = a.prepare(t, v, own)
	}
	took := duration(t)
	before := timeReveals(t, reader, took/2)
	machine, own0 := processorTime(t, "/proc/stat"), ownTime(t, v, nil)
	loop := startLoop(t, from)
	if a.ready != nil {
		a.ready(t, v)
		machine, own0 = processorTime(t, "/proc/stat"), ownTime(t, v, loop)
	}
	during := timeReveals(t, reader, took)
	share := others(processorTime(t, "/proc/stat")-machine, ownTime(t, v, loop)-own0, took)
	refused := loop.stop(t)
	after := timeReveals(t, reader, took/4)

	quiet := max(percentile(before, 99), percentile(after, 99))
	attacked, memory := percentile(during, 99), v.memory(t)
	t.Logf("p99 of a reveal: quiet %v, attacked %v (of %d); memory %d MiB; disk %d MiB; others use %.0f %% of the processors; refused %v",
		quiet.Round(time.Microsecond), attacked.Round(time.Microsecond), len(during), memory>>20, v.disk(t)>>20, 100*share, refused)
	if memory > maxMemory {
		t.Errorf("the vault took %d MiB, at most %d", memory>>20, maxMemory>>20)
	}
	for _, limit := range a.limits {
		if v.metric(t, "miosa_vault_limit_refusals_total", `"`+limit+`"`) == 0 {
			t.Errorf("%s refused nothing", limit)
		}
	}
	if a.after != nil {
		a.after(t, v)
	}
	if attacked > 2*quiet+noise && share > busy {
		t.Log("other programs use the processors too: the time of the reveals isn't judged")
		return ""
	}
	if attacked > 2*quiet+noise {
		return fmt.Sprintf("while another tenant attacks, the p99 of a reveal is %v; without it %v", attacked, quiet)
	}
	return ""
}

// ticks is the number of units of processor time in a second.
const ticks = 100

// processorTime returns the processor time in ticks that a file of /proc states: of all processes, without idle time, or of
// one; 0 where there is no /proc.
func processorTime(t *testing.T, file string) (sum float64) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	columns := []int{1, 2, 3, 6, 7, 8} // user, nice, system, irq, softirq, steal
	if file != "/proc/stat" {
		columns = []int{11, 12} // user, system
	}
	for _, i := range columns {
		n, err := strconv.ParseFloat(fields[i], 64)
		if err != nil {
			t.Fatal(err)
		}
		sum += n
	}
	return sum
}

// ownTime returns the processor time of the vault, of this process, and of the attack.
func ownTime(t *testing.T, v *vault, l *loop) float64 {
	t.Helper()
	sum := processorTime(t, "/proc/self/stat") + processorTime(t, fmt.Sprintf("/proc/%d/stat", v.process.Process.Pid))
	if l != nil {
		sum += processorTime(t, fmt.Sprintf("/proc/%d/stat", l.process.Process.Pid))
	}
	return sum
}

// others returns the share of the processors that other programs have used.
func others(all, own float64, d time.Duration) float64 {
	return max(0, all-own) / ticks / (d.Seconds() * float64(runtime.NumCPU()))
}

// percentile returns the p-th percentile.
func percentile(times []time.Duration, p int) time.Duration {
	slices.Sort(times)
	return times[(len(times)-1)*p/100]
}

// timeReveals reveals the victim's values for a time and returns how long each reveal took. Every fifth one uses a new connection.
func timeReveals(t *testing.T, reader client, d time.Duration) (times []time.Duration) {
	t.Helper()
	kept, fresh := &http.Transport{}, &http.Transport{DisableKeepAlives: true}
	defer kept.CloseIdleConnections()
	for end := time.Now().Add(d); time.Now().Before(end); <-time.After(15 * time.Millisecond) {
		ask, err := request("victim", "", 0)
		if err != nil {
			t.Fatal(err)
		}
		body, err := json.Marshal(ask)
		if err != nil {
			t.Fatal(err)
		}
		through := kept
		if len(times)%5 == 4 {
			through = fresh
		}
		begun := time.Now()
		status, text, err := post(reader, through, body)
		times = append(times, time.Since(begun))
		if err != nil || status != http.StatusOK {
			t.Fatalf("the victim's reveal: status %d %s, error %v", status, text[:min(len(text), 200)], err)
		}
	}
	return times
}

func post(c client, through *http.Transport, body []byte) (int, []byte, error) {
	req, err := http.NewRequestWithContext(context.Background(), "POST", c.URL+"/egress/bindings/reveal", bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Authorization", "Bearer "+c.Key)
	res, err := (&http.Client{Transport: through, Timeout: 30 * time.Second}).Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = res.Body.Close() }()
	var text bytes.Buffer
	_, err = text.ReadFrom(res.Body)
	return res.StatusCode, text.Bytes(), err
}

// loop is a running attack.
type loop struct {
	process *exec.Cmd
	out     bytes.Buffer
	ended   chan error
}

// startLoop starts the test's loop in a process of its own.
func startLoop(t *testing.T, from attacker) *loop {
	t.Helper()
	state, err := json.Marshal(&from)
	if err != nil {
		t.Fatal(err)
	}
	l := &loop{process: exec.Command(os.Args[0]), ended: make(chan error, 1)}
	l.process.Env = append(os.Environ(), loopVariable+"="+t.Name())
	l.process.Stdin, l.process.Stdout, l.process.Stderr = bytes.NewReader(state), &l.out, os.Stderr
	if err := l.process.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.process.Process.Kill() })
	go func() { l.ended <- l.process.Wait() }()
	return l
}

// stop ends the loop and returns the refusals by limit.
func (l *loop) stop(t *testing.T) map[string]int {
	t.Helper()
	_ = l.process.Process.Signal(syscall.SIGTERM)
	var err error
	if !poll.Within(patience, func() bool {
		select {
		case err = <-l.ended:
			return true
		default:
			return false
		}
	}) {
		t.Fatal("the attack doesn't end")
	}
	var a attacker
	if err != nil || json.Unmarshal(l.out.Bytes(), &a) != nil {
		t.Fatalf("the attack failed: %v", err)
	}
	return a.Refused
}

func notifyContext() (context.Context, context.CancelFunc) {
	return signal.NotifyContext(context.Background(), syscall.SIGTERM)
}
