package secrets_test

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/secrets"
	"github.com/google/go-cmp/cmp"
)

func TestAudit(t *testing.T) {
	v, c := start(t)
	since := time.Now()
	id := v.Put(t, "token", "first", sandbox, "TOKEN")
	for range 7 {
		v.Rotate(t, id, "next")
	}
	want := []string{"secret.create", "binding.create"}
	for range 7 {
		want = append(want, "secret.rotate")
	}
	var first secrets.Event
	for _, limit := range []int{0, 1, 3, 9, 1000} {
		got := []string{}
		for e, err := range c.AuditAll(t.Context(), secrets.AuditFilter{Since: &since, Limit: limit}) {
			if err != nil {
				t.Fatal(err)
			}
			if got = append(got, e.Action); len(got) == 1 {
				first = e
			}
		}
		if diff := cmp.Diff(got, want); diff != "" {
			t.Errorf("%d at a time: actions (-got +want):\n%s", limit, diff)
		}
	}
	got, err := c.AuditEvent(t.Context(), first.ID)
	if diff := cmp.Diff(got, first); err != nil || diff != "" {
		t.Errorf("error %v, event (-got +want):\n%s", err, diff)
	}

	// Breaking out of the loop stops the requests.
	before := v.Requests("GET /egress/audit")
	for _, err := range c.AuditAll(t.Context(), secrets.AuditFilter{Limit: 2}) {
		if err != nil {
			t.Fatal(err)
		}
		break
	}
	if n := v.Requests("GET /egress/audit") - before; n != 1 {
		t.Errorf("%d requests for one event", n)
	}

	events, next, err := c.Audit(t.Context(), secrets.AuditFilter{Resource: sandbox, Action: "binding.create", Limit: 1})
	if err != nil || len(events) != 1 || next != "" || events[0].ResourceID != "sb_1" {
		t.Errorf("error %v, events %+v, next %q", err, events, next)
	}
}

// An error is yielded last, after the events that were received.
func TestAuditAllEndsWithAnError(t *testing.T) {
	for _, tt := range []struct {
		name   string
		second func(w http.ResponseWriter)
		want   *api.Kind
	}{
		{"refused", func(w http.ResponseWriter) { answerJSON(w, 403, api.ErrorBody{Error: "no"}) }, api.ErrDenied},
		{"the same cursor again", func(w http.ResponseWriter) {
			answerJSON(w, 200, map[string]any{"events": []secrets.Event{{ID: "evt_2"}}, "next_cursor": "a"})
		}, api.ErrInternal},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, _ := serve(t, time.Minute, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Query().Get("cursor") == "a" {
					tt.second(w)
					return
				}
				answerJSON(w, 200, map[string]any{"events": []secrets.Event{{ID: "evt_1"}}, "next_cursor": "a"})
			})
			var ids []string
			var last error
			for e, err := range c.AuditAll(t.Context(), secrets.AuditFilter{}) {
				ids, last = append(ids, e.ID), err
			}
			if diff := cmp.Diff(ids, []string{"evt_1", ""}); diff != "" || !errors.Is(last, tt.want) {
				t.Errorf("error %v, want %v; events (-got +want):\n%s", last, tt.want, diff)
			}
		})
	}
}
