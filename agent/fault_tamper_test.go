package agent_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/agent"
	"github.com/Miosa-osa/miosa-env/agent/cache"
	"github.com/Miosa-osa/miosa-env/agent/peer"
	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/test/agenttest"
	"github.com/Miosa-osa/miosa-env/internal/test/poll"
	"github.com/Miosa-osa/miosa-env/internal/test/tamper"
	"github.com/Miosa-osa/miosa-env/vault/vaulttest"
	"github.com/google/go-cmp/cmp"
)

// A proxy changes the responses of a real vault after a rotation. The agent keeps the old set, with output and cache
// unchanged, and reports that it is stale and why. Once the responses arrive unchanged, it has the new set.
func TestFault_A15_TamperingUnderARunningAgent(t *testing.T) {
	t.Parallel() // most of it is waiting
	v := vaulttest.Start(t)
	names := []string{"ALPHA", "BETA", "GAMMA"}
	secrets := map[string]string{}
	all := func(version int) string {
		text := ""
		for _, name := range names {
			text += fmt.Sprintf("%s=canary-%s-%d ", name, name, version)
		}
		return strings.TrimSpace(text)
	}
	for _, name := range names {
		secrets[name] = v.Put(t, name, fmt.Sprintf("canary-%s-1", name), sandbox, name)
	}
	p := tamper.New(t, v.BaseURL)
	key := v.ResourceKey(t, sandbox)
	path, out := filepath.Join(t.TempDir(), "set"), &fakeOutput{name: "out"}
	cache, err := cache.New(cache.Config{Path: path, Key: key, Resource: sandbox})
	must(t, err)
	a, stop := realAgent(t, p.BaseURL, key.Reveal(), agent.Config{Cache: cache, Outputs: outputs(out)})
	defer stop()
	socket := agenttest.Serve(t, a, peer.List{}).Dial(t).Source(sandbox, "")
	shown := func(s api.Snapshot) string {
		text := ""
		for _, b := range s.Bound {
			text += b.ExposeAsEnv + "=" + b.Value.Reveal() + " "
		}
		return strings.TrimSpace(text)
	}
	sealed := func() []byte {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil
		}
		return text
	}
	version, diary := 1, []string{all(1)}
	settled := func() bool {
		set, s := a.Snapshot()
		saved, _, err := cache.Load()
		return s.State == agent.Fresh && shown(set) == all(version) && err == nil && shown(saved) == all(version) &&
			cmp.Equal(out.read(), diary)
	}
	poll.Until(t, 20*time.Second, "the first set is served and written", settled)
	var replay []byte // a genuine response to an earlier request
	p.Change(func(body []byte) []byte { replay = bytes.Clone(body); return body })
	must(t, a.Refresh(t.Context()))
	poll.Until(t, 20*time.Second, "the agent is fresh again", settled)
	const enc, tag = 1120, 16
	flipped := func(at func(length int) int) func([]byte) []byte {
		return tamper.Edit(func(a *api.RevealAnswer) { a.Sealed[at(len(a.Sealed))] ^= 1 })
	}
	for _, tt := range []struct {
		name   string
		change func([]byte) []byte
	}{
		{"values swapped", tamper.Edit(func(a *api.RevealAnswer) {
			slices.Reverse(a.Sealed[len(a.Sealed)-tag-30 : len(a.Sealed)-tag])
		})},
		{"relabeled", flipped(func(int) int { return enc + 60 })},
		{"another value", flipped(func(n int) int { return n - tag - 1 })},
		{"replayed", func([]byte) []byte { return replay }},
		{"last value removed", tamper.Edit(func(a *api.RevealAnswer) {
			a.Sealed = slices.Delete(a.Sealed, len(a.Sealed)-tag-10, len(a.Sealed)-tag)
		})},
		{"truncated", func(body []byte) []byte { return body[:len(body)-10] }},
		{"not sealed", tamper.Edit(func(a *api.RevealAnswer) { a.Sealed = nil })},
		{"another etag", tamper.Edit(func(a *api.RevealAnswer) { a.Etag = "another" })},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before, failures := sealed(), a.Status().Counts.Failures
			p.Change(tt.change)
			for _, name := range names {
				v.Rotate(t, secrets[name], fmt.Sprintf("canary-%s-%d", name, version+1))
			}
			poll.Until(t, 20*time.Second, "several responses are refused", func() bool { return a.Status().Counts.Failures >= failures+3 })
			set, s := a.Snapshot()
			if s.State != agent.Stale || s.LastError == "" || s.LastErrorAt.IsZero() {
				t.Errorf("state %s, error %q", s.State, s.LastError)
			}
			if got := shown(set); got != all(version) {
				t.Errorf("serves %q", got)
			}
			if got, err := socket.Next(t.Context(), ""); err != nil || shown(got) != all(version) {
				t.Errorf("the socket gives %q, %v", shown(got), err)
			}
			if diff := cmp.Diff(out.read(), diary); diff != "" {
				t.Errorf("written (-got +want):\n%s", diff)
			}
			if !bytes.Equal(sealed(), before) || len(before) == 0 {
				t.Error("the cache has changed")
			}
			p.Change(tamper.Unchanged)
			must(t, a.Refresh(t.Context()))
			version++
			// The vault rotated the secrets one after the other; the agent noticed when all were rotated.
			diary = append(diary, all(version))
			poll.Until(t, 20*time.Second, "the new set is served and written", settled)
			if got, err := socket.Next(t.Context(), ""); err != nil || shown(got) != all(version) {
				t.Errorf("the socket gives %q, %v", shown(got), err)
			}
		})
	}
}
