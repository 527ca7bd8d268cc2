package agent_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Miosa-osa/miosa-env/agent"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func outputs(all ...*fakeOutput) []agent.Output {
	out := make([]agent.Output, len(all))
	for i, p := range all {
		out[i] = p
	}
	return out
}

func TestOutputs(t *testing.T) {
	vault, one, two := newFakeVault(snapshot(1)), &fakeOutput{name: "/run/one"}, &fakeOutput{name: "/run/two", keep: true}
	runDaemon(t, agent.Config{Source: vault, Outputs: outputs(one, two)}, func(t *testing.T, a *agent.Engine) {
		synctest.Wait()
		vault.rotate(snapshot(2))
		time.Sleep(time.Hour)
		vault.fail(errDown)
		time.Sleep(time.Hour)
		vault.fail(nil)
		time.Sleep(time.Hour)
		want := []agent.OutputStatus{{Name: "/run/one", State: agent.Written, Bindings: 1, Writes: 2}, {Name: "/run/two", State: agent.Written, Bindings: 1, Writes: 2}}
		if diff := cmp.Diff(a.Status().Outputs, want, cmpopts.IgnoreFields(agent.OutputStatus{}, "WrittenAt")); diff != "" {
			t.Errorf("status (-got +want):\n%s", diff)
		}
		a.Rewrite("/run/one")
		a.Rewrite("/run/none")
		synctest.Wait()
	})
	if diff := cmp.Diff(one.read(), []string{"TOKEN=canary-1", "TOKEN=canary-2", "TOKEN=canary-2", "removed"}); diff != "" {
		t.Errorf("one (-got +want):\n%s", diff)
	}
	if diff := cmp.Diff(two.read(), []string{"TOKEN=canary-1", "TOKEN=canary-2"}); diff != "" {
		t.Errorf("two, which is kept (-got +want):\n%s", diff)
	}
}

// A write that fails is retried with growing pauses, unless the set doesn't fit. Other outputs aren't delayed.
func TestOutputsRetry(t *testing.T) {
	vault, full, unfit, fine := newFakeVault(snapshot(1)), &fakeOutput{name: "full"}, &fakeOutput{name: "unfit"}, &fakeOutput{name: "fine"}
	full.err, unfit.err = errors.New("no space left"), agent.Unfitting(errors.New("TOKEN has a newline"))
	runDaemon(t, agent.Config{Source: vault, Outputs: outputs(full, unfit, fine)}, func(t *testing.T, a *agent.Engine) {
		time.Sleep(time.Hour)
		if n := len(full.read()); n < 120 || n > 135 {
			t.Errorf("%d attempts in an hour", n)
		}
		want := []agent.OutputStatus{
			{Name: "full", State: agent.Failed, Error: "no space left"},
			{Name: "unfit", State: agent.Unfit, Error: "TOKEN has a newline"},
			{Name: "fine", State: agent.Written, Bindings: 1, Writes: 1},
		}
		got := a.Status().Outputs
		if got[0].Failures < 2 || got[1].Failures != 1 || got[2].Failures != 0 {
			t.Errorf("failures: %d, %d, %d; want several, 1, 0", got[0].Failures, got[1].Failures, got[2].Failures)
		}
		if diff := cmp.Diff(got, want, cmpopts.IgnoreFields(agent.OutputStatus{}, "WrittenAt", "Failures")); diff != "" {
			t.Errorf("status (-got +want):\n%s", diff)
		}
		full.fail(nil)
		time.Sleep(31 * time.Second)
		if s := a.Status().Outputs[0]; s.State != agent.Written || s.Error != "" {
			t.Errorf("after the disk has space again: %+v", s)
		}
		unfit.fail(nil)
		vault.rotate(snapshot(2))
		synctest.Wait()
		if s := a.Status().Outputs[1]; s.State != agent.Written {
			t.Errorf("after a set that fits: %+v", s)
		}
	})
	if diff := cmp.Diff(unfit.read(), []string{"tried: TOKEN=canary-1", "TOKEN=canary-2", "removed"}); diff != "" {
		t.Errorf("unfit (-got +want):\n%s", diff)
	}
	if diff := cmp.Diff(fine.read(), []string{"TOKEN=canary-1", "TOKEN=canary-2", "removed"}); diff != "" {
		t.Errorf("fine (-got +want):\n%s", diff)
	}
}

// A revocation removes all outputs, and retries until they are gone.
func TestOutputsRevokedKey(t *testing.T) {
	vault, one, kept := newFakeVault(snapshot(1)), &fakeOutput{name: "one"}, &fakeOutput{name: "kept", keep: true}
	runDaemon(t, agent.Config{Source: vault, Outputs: outputs(one, kept)}, func(t *testing.T, a *agent.Engine) {
		synctest.Wait()
		kept.fail(errors.New("busy"))
		vault.fail(errRevoked)
		time.Sleep(3 * time.Second)
		if s := a.Status().Outputs; s[0].State != agent.Removed || s[1].State != agent.Failed {
			t.Errorf("status %+v", s)
		}
		if n := len(kept.read()); n < 10 {
			t.Errorf("%d attempts in 3 s", n)
		}
		kept.fail(nil)
		time.Sleep(time.Second)
		if s := a.Status().Outputs; s[1].State != agent.Removed {
			t.Errorf("status %+v", s)
		}
		vault.fail(nil)
		time.Sleep(2 * time.Minute)
		if s := a.Status().Outputs; s[0].State != agent.Written || s[1].State != agent.Written {
			t.Errorf("after the key is accepted again: %+v", s)
		}
	})
	if diff := cmp.Diff(one.read(), []string{"TOKEN=canary-1", "removed", "TOKEN=canary-1", "removed"}); diff != "" {
		t.Errorf("one (-got +want):\n%s", diff)
	}
}

// An output whose write or removal has failed may have changed. It is written again, even for the set that it had before.
func TestOutputsAfterFailure(t *testing.T) {
	other := snapshot(1)
	other.Etag = "another"
	for _, tt := range []struct {
		name  string
		leave func(v *fakeVault)
	}{
		{"written", func(v *fakeVault) { v.rotate(other) }},
		{"removed", func(v *fakeVault) { v.fail(errRevoked) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			vault, out := newFakeVault(snapshot(1)), &fakeOutput{name: "one"}
			runDaemon(t, agent.Config{Source: vault, Outputs: outputs(out)}, func(t *testing.T, a *agent.Engine) {
				synctest.Wait()
				out.fail(errors.New("busy"))
				tt.leave(vault)
				synctest.Wait()
				vault.rotate(snapshot(1))
				must(t, a.Refresh(t.Context()))
				synctest.Wait()
				out.fail(nil)
				time.Sleep(31 * time.Second)
				if s := a.Status().Outputs[0]; s.State != agent.Written || s.Writes != 2 || s.Error != "" {
					t.Errorf("%+v", s)
				}
			})
		})
	}
}

func TestSetOutputs(t *testing.T) {
	vault := newFakeVault(snapshot(1))
	stays, goes, kept := &fakeOutput{name: "stays"}, &fakeOutput{name: "goes"}, &fakeOutput{name: "kept", keep: true}
	over, fresh := &fakeOutput{name: "stays"}, &fakeOutput{name: "fresh"}
	unseen := &fakeOutput{name: "stays"}
	runDaemon(t, agent.Config{Source: vault, Outputs: outputs(unseen)}, func(t *testing.T, a *agent.Engine) {
		synctest.Wait()
		a.SetOutputs(outputs(stays, goes, kept))
		synctest.Wait()
		a.SetOutputs(outputs(over, fresh))
		synctest.Wait()
		want := []agent.OutputStatus{{Name: "stays", State: agent.Written, Bindings: 1, Writes: 1}, {Name: "fresh", State: agent.Written, Bindings: 1, Writes: 1}}
		if diff := cmp.Diff(a.Status().Outputs, want, cmpopts.IgnoreFields(agent.OutputStatus{}, "WrittenAt")); diff != "" {
			t.Errorf("status (-got +want):\n%s", diff)
		}
		vault.rotate(snapshot(2))
		synctest.Wait()
	})
	for _, tt := range []struct {
		name   string
		output *fakeOutput
		want   []string
	}{
		{"replaced at the start", unseen, []string{"TOKEN=canary-1"}},
		{"replaced", stays, []string{"TOKEN=canary-1"}},
		{"forgotten", goes, []string{"TOKEN=canary-1", "removed"}},
		{"forgotten and kept", kept, []string{"TOKEN=canary-1"}},
		{"took over", over, []string{"TOKEN=canary-1", "TOKEN=canary-2", "removed"}},
		{"new", fresh, []string{"TOKEN=canary-1", "TOKEN=canary-2", "removed"}},
	} {
		if diff := cmp.Diff(tt.output.read(), tt.want); diff != "" {
			t.Errorf("%s (-got +want):\n%s", tt.name, diff)
		}
	}
}
