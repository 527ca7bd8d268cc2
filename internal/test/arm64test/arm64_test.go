package arm64test

import (
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/needs"
)

// outcome matches the result line of a test or subtest.
var outcome = regexp.MustCompile(`(?m)^ *--- (PASS|FAIL|SKIP): (\S+) \((.*)\)$`)

// wantPasses reports the results of the tests on a machine, from their last run. At least the given number must
// have passed, so that missing tests are noticed.
func wantPasses(t *testing.T, printed string, least int) {
	t.Helper()
	ended, times, failed, passed := map[string][]string{}, map[string]int{}, map[string]bool{}, 0
	for _, line := range outcome.FindAllStringSubmatch(printed, -1) {
		ended[line[2]] = line
		times[line[2]]++
		failed[line[2]] = failed[line[2]] || line[1] == "FAIL"
	}
	for _, name := range slices.Sorted(maps.Keys(ended)) {
		t.Run(name, func(t *testing.T) {
			t.Logf("took %s on arm64", ended[name][3])
			if times[name] > 1 {
				t.Log("FAILED ON ARM64 THE FIRST TIME: it was run once more")
			}
			switch ended[name][1] {
			case "FAIL":
				t.Error("failed on arm64")
			case "SKIP":
				needs.System(t, "another kernel for arm64: it is skipped there")
			}
			passed++
		})
	}
	if passed < least {
		t.Errorf("%d tests have passed, want %d or more", passed, least)
	}
	if !strings.Contains(printed, "\nPASS\n") || strings.Contains(printed, "\npanic: ") {
		t.Error("the test program didn't come to a good end")
	}
	if t.Failed() || slices.Max(slices.Collect(maps.Values(times))) > 1 {
		printed = api.RedactKeys(printed)
		for part := range strings.SplitSeq(printed, "\n=== RUN   ") {
			if name, _, _ := strings.Cut(part, "\n"); failed[name] {
				t.Logf("the machine printed of %s", part[:min(8000, len(part))])
			}
		}
		t.Logf("the machine printed at last:\n%s", printed[max(0, len(printed)-2000):])
	}
}

// Supervision of commands: signals, exit codes, orphans, terminals, changes, masking. Tests that take minutes on
// an emulated processor, or that do not depend on the processor, are not named here.
func TestSupervision(t *testing.T) {
	m := newMachine(t)
	m.add("inject/supervise", "-test.run=^Test("+strings.Join([]string{
		"EverySignalIsForwarded|SignalsThatDontKill|StopAndContinueByHand|InheritedIgnored|Until|RealTimeSignals", // uses the project's own assembly
		"ReapedElsewhere|SignalIsForTheCommandAlone|WorkingDirectory",
		"Restart|Settle|ChangeWhileStopping|TermWhileRestarting|CommandEndsBeforeTheRestart|StopSignal|.*OnChange",
		"OrphanIsAdopted|NoSubreaper|TermReachesTheCommand|Fault_A13|RestOfTheGroup|SupervisorKilled|ParentDeathOfThread|StartErrors",
		"CtrlC|WindowSize|StopKey|Foreground|Pipeline|Masked(Output|Terminal|Grandchild|Broken|Prompt)",
	}, "|")+")")
	m.add("inject/output", "-test.run=^Test(OutputFormats|OutputRewritten)")
	m.add("inject/environ", "-test.run=^TestScrub$")
	m.add("inject/mask", "-test.run=^TestMaskHolds$")
	m.add("internal/inherited", "-test.run=^Test(Noted|Ordered)$")
	m.add("inject/dotenv", "-test.run=^Test(Parse|Errors|ReadErrors|Pipe|Unreadable)$")
	wantPasses(t, m.boot(), 100)
}

// The scripts of the program, with the binary as released.
func TestProgram(t *testing.T) {
	m := newMachine(t)
	m.build("build", "-buildvcs=false", "-ldflags=-X main.version=v0.0.0-test", "-o", filepath.Join(m.dir, "repository/cmd/miosa-env/built/")+"/", "./cmd/miosa-env", "./cmd/miosa-egress")
	m.add("cmd/miosa-env", "-test.run=^TestScripts$/^(run_(env_file|environment|hook|ignored_signals|interrupted|key_hidden|mask|mask_restart|pid1|replace|restart|signal|cache)|agent_(cache|envfile|status)|doctor|export|get|list)$")
	wantPasses(t, m.boot(), 20)
}

// The agent's tests of memory: this kernel has memfd_secret.
func TestAgent(t *testing.T) {
	m := newMachine(t)
	m.add("agent/cache", "-test.run=^TestCache")
	m.add("agent/memory", "-test.run=^Test(Memory|Harden)")
	m.add("agent/socket", "-test.run=^TestSocket(Peers|OfARealAgent|Reveal|Wait|Stops)")
	wantPasses(t, m.boot(), 12)
}

// The vault's tests of signals and of running once per folder.
func TestVault(t *testing.T) {
	m := newMachine(t)
	m.add("cmd/miosa-vault", "-test.run=^TestScripts$")
	wantPasses(t, m.boot(), 12)
}
