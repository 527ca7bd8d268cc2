package store

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/vault/audit"
	"github.com/Miosa-osa/miosa-env/vault/limit"
	"github.com/Miosa-osa/miosa-env/vault/together"
)

// Events of reveals that are recorded together are those of reveals one by one: in one chain, and counted when they repeat, within a
// batch too.
func TestRevealsAreAuditedTogether(t *testing.T) {
	s := newStore(t)
	owner, other := tenant(t, s, "acme"), tenant(t, s, "other")
	const agents = 70 // more than one statement inserts
	var jobs []*revealEvent
	add := func(a Actor, kind string, bindings ...api.EventRef) {
		jobs = append(jobs, &revealEvent{actor: a, event: api.Event{Action: actReveal, ResourceType: kind, ResourceID: a.Resource.ID, Bindings: bindings}})
	}
	a, b := api.EventRef{ID: "bnd_1", SecretID: "sec_1", Version: 1}, api.EventRef{ID: "bnd_2", SecretID: "sec_2", Version: 3}
	var actors []Actor
	for i := range agents {
		by := owner
		if i%10 == 9 {
			by = other
		}
		actors = append(actors, agent(t, s, by, api.Resource{Type: api.Sandbox, ID: fmt.Sprintf("sb_%d", i)}))
	}
	batch := func() {
		jobs = nil
		for i, actor := range actors {
			kind := api.Sandbox
			if i%7 == 0 {
				kind = api.Computer // in rows of their own
			}
			add(actor, kind, a, b)
			if i%5 == 0 {
				add(actor, kind, a, b)
			}
			if i%11 == 0 {
				add(actor, kind, a)
			}
		}
		s.auditReveals(jobs)
		for _, j := range jobs {
			if !j.done || j.err != nil {
				t.Fatal(j.done, j.err)
			}
		}
	}
	batch()
	batch()
	counts := map[string][]int64{} // of events, by resource
	seen := 0
	for _, tenant := range []Actor{owner, other} {
		check := verified(t, s, tenant, &audit.Verifier{})
		if check.Problem != nil || !check.Complete {
			t.Fatalf("%+v", check.Problem)
		}
		for _, e := range audited(t, s, tenant, actReveal) {
			counts[e.ResourceID] = append(counts[e.ResourceID], e.Count)
			seen++
		}
		list, _, err := s.Audit(t.Context(), tenant, AuditFilter{SecretID: "sec_2", Limit: 1000})
		if err != nil || len(list) == 0 {
			t.Errorf("%d events of a secret: %v", len(list), err)
		}
	}
	for i, actor := range actors {
		want := []int64{2}
		if i%5 == 0 {
			want[0] = 4
		}
		if i%11 == 0 {
			want = append(want, 2)
		}
		got := counts[actor.Resource.ID]
		slices.Sort(got)
		slices.Sort(want)
		if diff := cmp.Diff(got, want); diff != "" {
			t.Errorf("counts of %s (-got +want)\n%s", actor.Resource.ID, diff)
		}
	}
}

// revealChanged reveals the set of box1 unless it has an etag.
func revealChanged(t *testing.T, s *Store, a Actor, etag string) (set api.Snapshot, recheck *time.Time, err error) {
	t.Helper()
	opener, err := api.NewOpener(box1)
	if err != nil {
		t.Fatal(err)
	}
	sealer := func() (*api.Sealer, error) { return api.NewSealer(box1, opener.Recipient()) }
	answer, recheck, err := s.RevealChanged(t.Context(), a, box1, etag, sealer, func(context.Context, int64) error { return nil })
	if err != nil || recheck != nil {
		return set, recheck, err
	}
	if set, err = opener.Open(answer); err != nil {
		t.Fatal(err)
	}
	return set, nil, nil
}

// A set that hasn't changed isn't revealed, and nothing is recorded. One that has is revealed and recorded once. A set of any size.
func TestRevealChanged(t *testing.T) {
	for _, size := range []int{10, 2 * smallSet} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			s := newStore(t)
			owner := tenant(t, s, "acme")
			reader := agent(t, s, owner, box1)
			secret := bound(t, s, owner, "TOKEN", strings.Repeat("a", size))
			expires := time.Now().Add(time.Hour).UTC().Truncate(time.Microsecond)
			bind(t, s, owner, api.NewBinding{
				SecretID: put(t, s, owner, api.NewSecret{Name: "x", Value: text("x"), ExpiresAt: &expires}).ID, Resource: box1, ExposeAsEnv: "X",
			})
			etag := etagOf(t, s, reader)
			_, recheck, err := revealChanged(t, s, reader, etag)
			if err != nil || recheck == nil || recheck.Before(expires) || recheck.After(expires.Add(time.Second)) {
				t.Errorf("unchanged: %v, %v; it expires at %v", recheck, err, expires)
			}
			if events := audited(t, s, owner, actReveal); len(events) != 0 {
				t.Errorf("%d events", len(events))
			}
			if _, err := s.RotateSecret(t.Context(), owner, secret.ID, Rotation{Value: text(strings.Repeat("b", size))}); err != nil {
				t.Fatal(err)
			}
			set, recheck, err := revealChanged(t, s, reader, etag)
			if err != nil || recheck != nil || len(set.Bound) != 2 || set.Etag != etagOf(t, s, reader) || set.Bound[0].Value.Reveal() != strings.Repeat("b", size) {
				t.Errorf("changed: %d bindings, %v, %v", len(set.Bound), recheck, err)
			}
			if events := audited(t, s, owner, actReveal); len(events) != 1 || events[0].Count != 1 || len(events[0].Bindings) != 2 {
				t.Errorf("events %+v", events)
			}
			if err := s.RevokeResourceKey(t.Context(), owner, reader.KeyID); err != nil {
				t.Fatal(err)
			}
			for _, etag := range []string{etag, set.Etag} {
				_, _, err = revealChanged(t, s, reader, etag)
				wantKind(t, err, api.ErrUnauthorized)
			}
		})
	}
}

// A set that hasn't changed counts as no event. One that has isn't revealed beyond the limit.
func TestRevealChangedCountsAnEvent(t *testing.T) {
	s := limitedTo(t, only(limit.TenantEvents, 0.01)) // one at once
	tenant(t, s, "acme")
	operator, err := s.LocalActor(t.Context(), "acme")
	if err != nil {
		t.Fatal(err)
	}
	secret := bound(t, s, operator, "TOKEN", "one")
	reader := agent(t, s, operator, box1)
	etag := etagOf(t, s, reader)
	for range 5 {
		if _, recheck, err := revealChanged(t, s, reader, etag); recheck == nil || err != nil {
			t.Fatal(recheck, err)
		}
	}
	if _, err := s.RotateSecret(t.Context(), operator, secret.ID, Rotation{Value: text("two")}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := revealChanged(t, s, reader, etag); err != nil {
		t.Fatal(err)
	}
	_, _, err = revealChanged(t, s, reader, etag)
	wantLimit(t, err, api.ErrRateLimited, limit.TenantEvents.String())
}

// Large sets are read, opened and recorded apart from the batches of others.
func TestLargeSetsAreReadAlone(t *testing.T) {
	s := newStore(t)
	owner := tenant(t, s, "acme")
	reader := agent(t, s, owner, box1)
	bound(t, s, owner, "LARGE", strings.Repeat("v", 2*smallSet))
	revealed(t, s, reader) // the cache has it then
	opened, recorded := 0, 0
	s.setReads = together.New(maxTogether, 1, func(jobs []*setRead) {
		s.readSets(jobs)
		for _, j := range jobs {
			if j.err == nil {
				opened++
			}
		}
	})
	s.revealEvents = together.New(maxTogether, 1, func(jobs []*revealEvent) { s.auditReveals(jobs); recorded += len(jobs) })
	for range 2 {
		if got := revealed(t, s, reader); len(got["LARGE"]) != 2*smallSet {
			t.Errorf("a value of %d bytes", len(got["LARGE"]))
		}
		if opened != 0 || recorded != 0 {
			t.Errorf("%d opened and %d recorded together with others", opened, recorded)
		}
	}
	if events := audited(t, s, owner, actReveal); len(events) != 1 || events[0].Count != 3 {
		t.Errorf("events %+v", events)
	}
}
