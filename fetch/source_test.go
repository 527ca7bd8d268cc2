package fetch_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/fetch"
	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"
)

// follow answers a reveal like a vault with the set bound: at once without an etag, and with 304 after the wait if
// the etag is current.
func follow(w http.ResponseWriter, r *http.Request, bound []api.Bound) {
	var ask api.RevealRequest
	if err := json.NewDecoder(r.Body).Decode(&ask); err != nil {
		refuse(w, 400)
		return
	}
	a, err := api.Seal(ask.Resource, ask.Recipient, bound)
	if err != nil {
		refuse(w, 422)
		return
	}
	if ask.Etag == a.Etag {
		time.Sleep(time.Duration(ask.WaitSeconds) * time.Second)
		w.WriteHeader(http.StatusNotModified)
		return
	}
	answerJSON(w, 200, a)
}

// change calls Next until the etag of the set differs.
func change(ctx context.Context, src *fetch.Source, etag string) (api.Snapshot, error) {
	for {
		if next, err := src.Next(ctx, etag); !errors.Is(err, api.ErrNotModified) {
			return next, err
		}
	}
}

// gaps returns the durations between requests.
func gaps(seen []time.Time) []time.Duration {
	out := []time.Duration{}
	for i := 1; i < len(seen); i++ {
		out = append(out, seen[i].Sub(seen[i-1]))
	}
	return out
}

func TestSourceWaitsAcross304(t *testing.T) {
	rotated := set()
	rotated[0].Version, rotated[0].Value = 4, api.NewValue([]byte("canary-new"))
	virtually(t, func(n int, w http.ResponseWriter, r *http.Request) {
		if n < 5 {
			follow(w, r, set())
			return
		}
		time.Sleep(10 * time.Second)
		follow(w, r, rotated)
	}, func(t *testing.T, c *fetch.Client, s *script) {
		src := c.Source(sandbox)
		first, err := src.Next(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		var next api.Snapshot
		took := elapsed(func() { next, err = change(t.Context(), src, first.Etag) })
		if err != nil || next.Etag == first.Etag {
			t.Fatalf("error %v, etag %s", err, next.Etag)
		}
		if diff := cmp.Diff(plaintext(next), [][2]string{{"ALPHA", "canary-alpha"}, {"ZED", "canary-new"}}); diff != "" {
			t.Errorf("set (-got +want):\n%s", diff)
		}
		// A wait of 1 to 50 s, two of 50 s, and a fourth that ends with the change: no further requests.
		if n := len(s.times()); n != 5 || took < 111*time.Second || took > 160*time.Second {
			t.Errorf("%d requests in %s, want 5 in 111 to 160 s", n, took)
		}
		if src.Placeholders() {
			t.Error("Placeholders reports a fallback")
		}
	})
}

// Requests are slowed down if a vault or gateway answers waits at once.
func TestSourceSlowsDownWhenNothingWaits(t *testing.T) {
	unchanged := map[string]func(t *testing.T, w http.ResponseWriter, r *http.Request){
		"304":            func(_ *testing.T, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(304) },
		"200, same etag": func(t *testing.T, w http.ResponseWriter, r *http.Request) { answerJSON(w, 200, seal(t, r, set())) },
	}
	for name, answer := range unchanged {
		t.Run(name, func(t *testing.T) {
			virtually(t, func(n int, w http.ResponseWriter, r *http.Request) {
				if n == 1 {
					follow(w, r, set())
					return
				}
				answer(t, w, r)
			}, func(t *testing.T, c *fetch.Client, s *script) {
				src := c.Source(sandbox)
				first, err := src.Next(t.Context(), "")
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				if _, err := change(ctx, src, first.Etag); !errors.Is(err, context.DeadlineExceeded) {
					t.Fatalf("error %v", err)
				}
				if n := len(s.times()); n < 110 || n > 150 {
					t.Errorf("%d requests in an hour, want about 120", n)
				}
			})
		})
	}
}

// After an error, Next reports the recovery even if nothing has changed.
func TestSourceTellsRecovery(t *testing.T) {
	virtually(t, func(n int, w http.ResponseWriter, r *http.Request) {
		if n == 2 || n == 3 {
			refuse(w, 503, "Retry-After", "7")
			return
		}
		follow(w, r, set())
	}, func(t *testing.T, c *fetch.Client, s *script) {
		src := c.Source(sandbox)
		first, err := src.Next(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // one request each: the caller does the pauses
			_, err = src.Next(t.Context(), first.Etag)
			if refusal, ok := errors.AsType[*api.Error](err); !ok || refusal.RetryAfter != 7*time.Second {
				t.Fatalf("error %v", err)
			}
		}
		took := elapsed(func() { _, err = src.Next(t.Context(), first.Etag) })
		if !errors.Is(err, api.ErrNotModified) || took != 0 || len(s.times()) != 4 {
			t.Fatalf("error %v after %s and %d requests", err, took, len(s.times()))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if _, err = change(ctx, src, first.Etag); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("error %v, want it to wait again", err)
		}
	})
}

// platform is a vault without the agent API. It lists bindings and ignores the filter.
type platform struct {
	reveal   int // status of a reveal
	bindings []map[string]any
	key      string // key of the envelope
}

func (p *platform) serve(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path == "/api/v1/egress/bindings/reveal":
		w.WriteHeader(p.reveal)
	case r.Method == http.MethodGet && r.URL.Path == "/api/v1/egress/bindings":
		answerJSON(w, 200, map[string]any{p.key: p.bindings})
	default:
		refuse(w, 400)
	}
}

func bound(id, name, token, resource string) map[string]any {
	return map[string]any{"id": id, "secret_id": "sec_" + id, "resource_id": resource, "resource_type": "sandbox",
		"expose_as_env": name, "placeholder_token": token, "created_at": "2026-01-02T03:04:05Z"}
}

func TestSourceFallsBackToPlaceholders(t *testing.T) {
	for _, status := range []int{404, 405} {
		for _, key := range []string{"bindings", "data", "items"} {
			t.Run(http.StatusText(status)+" "+key, func(t *testing.T) {
				vault := &platform{reveal: status, key: key, bindings: []map[string]any{
					bound("bnd_2", "ZED", "miosa-tok-z", "sb_1"), bound("bnd_1", "ALPHA", "miosa-tok-a", "sb_1"), bound("bnd_9", "ALPHA", "miosa-tok-9", "sb_2"),
				}}
				var log bytes.Buffer
				virtually(t, func(_ int, w http.ResponseWriter, r *http.Request) { vault.serve(w, r) },
					func(t *testing.T, c *fetch.Client, s *script) {
						src := c.Source(sandbox)
						first, err := src.Next(t.Context(), "")
						if err != nil {
							t.Fatal(err)
						}
						if diff := cmp.Diff(plaintext(first), [][2]string{{"ALPHA", "miosa-tok-a"}, {"ZED", "miosa-tok-z"}}); diff != "" {
							t.Errorf("set (-got +want):\n%s", diff)
						}
						for _, b := range first.Bound {
							if b.Delivery != api.DeliverPlaceholder || b.Version < 1 {
								t.Errorf("%s: delivery %s, version %d", b.ExposeAsEnv, b.Delivery, b.Version)
							}
						}
						if !src.Placeholders() {
							t.Error("Placeholders does not report the fallback")
						}
						ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
						_, err = change(ctx, src, first.Etag)
						cancel()
						if !errors.Is(err, context.DeadlineExceeded) {
							t.Fatalf("error %v, want it to wait", err)
						}
						seen := s.times()[1:] // without the reveal, which is sent once
						for _, gap := range gaps(seen) {
							if gap < 27*time.Second || gap > 33*time.Second {
								t.Errorf("polled after %s", gap)
							}
						}
						if len(seen) < 109 || len(seen) > 135 {
							t.Errorf("%d polls in an hour", len(seen))
						}
						vault.bindings[0]["placeholder_token"] = "miosa-tok-other"
						var next api.Snapshot
						took := elapsed(func() { next, err = change(t.Context(), src, first.Etag) })
						if err != nil || next.Etag == first.Etag || took > 33*time.Second {
							t.Errorf("another token: error %v after %s", err, took)
						}
						vault.reveal = 500
						if _, err = src.Next(t.Context(), ""); err != nil {
							t.Errorf("error %v: reveal was sent again", err)
						}
					}, func(c *fetch.Config) { c.Log = zerolog.New(&log) })
				if n := strings.Count(log.String(), "\n"); n != 1 || !strings.Contains(log.String(), `"level":"warn"`) || strings.Contains(log.String(), "miosa-tok") {
					t.Errorf("log has %d lines, want one warning:\n%s", n, &log)
				}
			})
		}
	}
}

// The platform delivers a binding without a placeholder, so no value is invented for it.
func TestSourceLeavesVariablesToThePlatform(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(b map[string]any)
	}{
		{"no token", func(b map[string]any) { delete(b, "placeholder_token") }},
		{"an empty one", func(b map[string]any) { b["placeholder_token"] = "" }},
		{"null", func(b map[string]any) { b["placeholder_token"] = nil }},
		{"a preview beside it", func(b map[string]any) {
			delete(b, "placeholder_token")
			b["placeholder_preview"] = "miosa-tok-..."
		}},
		{"a preview in its place", func(b map[string]any) { b["placeholder_token"] = "miosa-tok-..." }},
		{"a masked one", func(b map[string]any) { b["placeholder_token"] = "miosa-tok-****" }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			theirs := bound("bnd_1", "THEIRS", "miosa-tok-b", "sb_1")
			tt.change(theirs)
			vault := &platform{reveal: 404, key: "data", bindings: []map[string]any{bound("bnd_0", "OURS", "miosa-tok-a", "sb_1"), theirs}}
			virtually(t, func(_ int, w http.ResponseWriter, r *http.Request) { vault.serve(w, r) },
				func(t *testing.T, c *fetch.Client, _ *script) {
					got, err := c.Source(sandbox).Next(t.Context(), "")
					if diff := cmp.Diff(plaintext(got), [][2]string{{"OURS", "miosa-tok-a"}, {"THEIRS", ""}}); err != nil || diff != "" {
						t.Fatalf("error %v, set (-got +want):\n%s", err, diff)
					}
					if ours, theirs := got.Bound[0].Delivery, got.Bound[1].Delivery; ours != api.DeliverPlaceholder || theirs != api.DeliverPlatform {
						t.Errorf("delivered as %s and %s", ours, theirs)
					}
				})
		})
	}
}

// A refused reveal means either that this vault has no reveal for the key, or that the key is refused.
func TestSourceFallsBackOnlyWithoutReveal(t *testing.T) {
	const (
		scope    = `{"error":{"code":"MACHINE_KEY_SCOPE","message":"not this machine's lifecycle"}}`
		ordinary = `{"error":{"code":"FORBIDDEN","message":"no"}}`
		page     = "<html>Not Found</html>"
	)
	for _, tt := range []struct {
		name         string
		reveal, list int // statuses
		body         string
		listBody     string // of a refused list
		want         error  // nil: the list is used
		hint         string // substring of the hint
	}{
		{"no route", 404, 200, `{"errors":{"detail":"Not Found"}}`, "", nil, ""},
		{"a page", 404, 200, page, "", nil, ""},
		{"another method", 405, 200, `{}`, "", nil, ""},
		{"a status for calls that are not there", 501, 200, `{}`, "", nil, ""},
		{"a machine's own key", 403, 200, scope, "", nil, ""},
		{"its code in a flat error", 403, 200, `{"error":"no","code":"MACHINE_KEY_SCOPE"}`, "", nil, ""},
		{"its code alone", 403, 200, `{"error":"MACHINE_KEY_SCOPE"}`, "", nil, ""},
		{"another 403", 403, 200, ordinary, "", api.ErrDenied, "a resource key serves the one sandbox"},
		{"a 403 without a body", 403, 200, "", "", api.ErrDenied, "a resource key serves the one sandbox"},
		{"a 403 that says it may be tried again", 403, 200, `{"error":{"code":"FORBIDDEN","message":"no","retryable":true}}`, "", api.ErrDenied, "a resource key"},
		{"an unknown key", 401, 200, scope, "", api.ErrUnauthorized, "create another with miosa-env keys create"},
		{"a machine's own key that may not list", 403, 403, scope, scope, api.ErrDenied, "the key is the machine's own"},
		{"one that gets another 403 for that", 403, 403, scope, ordinary, api.ErrDenied, "the key is the machine's own"},
		{"one that finds no list", 403, 404, scope, page, api.ErrNotFound, "the key is the machine's own"},
		{"no route at all", 404, 404, page, page, api.ErrNotFound, "check MIOSA_BASE_URL"},
		{"a list that is refused", 404, 403, page, ordinary, api.ErrDenied, "a resource key serves the one sandbox"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			vault := &platform{key: "data", bindings: []map[string]any{bound("bnd_1", "ALPHA", "miosa-tok-a", "sb_1")}}
			var log bytes.Buffer
			virtually(t, func(_ int, w http.ResponseWriter, r *http.Request) {
				status, body := tt.list, tt.listBody
				if r.Method == http.MethodPost {
					status, body = tt.reveal, tt.body
				}
				if status == 200 {
					vault.serve(w, r)
					return
				}
				if w.Header().Set("Content-Type", "application/json"); body == page {
					w.Header().Set("Content-Type", "text/html")
				}
				w.WriteHeader(status)
				_, _ = io.WriteString(w, body)
			}, func(t *testing.T, c *fetch.Client, s *script) {
				src := c.Source(sandbox)
				got, err := src.Next(t.Context(), "")
				problem, _ := errors.AsType[*fetch.Problem](err)
				switch {
				case tt.want == nil && (err != nil || len(got.Bound) != 1 || !src.Placeholders()):
					t.Errorf("error %v with %d bindings", err, len(got.Bound))
				case tt.want != nil && (!errors.Is(err, tt.want) || problem == nil || !strings.Contains(problem.Fix, tt.hint) || src.Placeholders()):
					t.Errorf("error %v (%+v), want %v", err, problem, tt.want)
				}
				if src.OutOfScope() != (src.Placeholders() && tt.reveal == 403) {
					t.Errorf("out of scope: %v", src.OutOfScope())
				}
				if n := len(s.times()); n > 2 {
					t.Errorf("%d requests: none of these is tried again", n)
				}
			}, func(c *fetch.Config) { c.Log = zerolog.New(&log) })
			if warned := strings.Contains(log.String(), "polling for"); warned != (tt.want == nil) ||
				strings.Contains(log.String(), "no agent API") != (warned && tt.reveal != 403) {
				t.Errorf("log:\n%s", &log)
			}
		})
	}
}

// A 404 after values were revealed is an error and does not replace them.
func TestSourceNeverFallsBackFromValues(t *testing.T) {
	virtually(t, func(n int, w http.ResponseWriter, r *http.Request) {
		if n == 1 {
			follow(w, r, set())
			return
		}
		refuse(w, 404)
	}, func(t *testing.T, c *fetch.Client, _ *script) {
		src := c.Source(sandbox)
		first, err := src.Next(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		for _, etag := range []string{first.Etag, ""} {
			if _, err = src.Next(t.Context(), etag); !errors.Is(err, api.ErrNotFound) || src.Placeholders() {
				t.Errorf("error %v, fallen back %v", err, src.Placeholders())
			}
		}
	})
}

func TestSourceRefusesUnusableBindings(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(b map[string]any)
	}{
		{"no id", func(b map[string]any) { delete(b, "id") }},
		{"no secret", func(b map[string]any) { b["secret_id"] = nil }},
		{"no name", func(b map[string]any) { b["expose_as_env"] = "" }},
		{"no resource", func(b map[string]any) { delete(b, "resource_id") }},
		{"an empty resource", func(b map[string]any) { b["resource_id"] = "" }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := bound("bnd_1", "NAME", "miosa-tok-a", "sb_1")
			tt.change(b)
			vault := &platform{reveal: 404, key: "bindings", bindings: []map[string]any{bound("bnd_0", "FINE", "miosa-tok-f", "sb_1"), b}}
			virtually(t, func(_ int, w http.ResponseWriter, r *http.Request) { vault.serve(w, r) },
				func(t *testing.T, c *fetch.Client, _ *script) {
					got, err := c.Source(sandbox).Next(t.Context(), "")
					problem, ok := errors.AsType[*fetch.Problem](err)
					if !ok || problem.Reason != fetch.BadAnswer || got.Bound != nil {
						t.Errorf("error %v with %d values", err, len(got.Bound))
					}
				})
		})
	}
}

// A platform that lists bindings in pages is asked for all of them: a partial set could start a command without a
// variable that it needs.
func TestSourceOfAPlatformThatPages(t *testing.T) {
	const reveal = "/api/v1/egress/bindings/reveal"
	for _, tt := range []struct {
		name  string
		pages []map[string]any // fields next to the list, one map per response
		want  string           // "": both
	}{
		{"next_cursor", []map[string]any{{"next_cursor": "a"}, {"next_cursor": ""}}, ""},
		{"in meta", []map[string]any{{"meta": map[string]any{"next_cursor": "a", "has_more": true}}, {"meta": map[string]any{"next_cursor": nil, "has_more": false}}}, ""},
		{"in pagination", []map[string]any{{"pagination": map[string]any{"next_cursor": "a"}}, {"pagination": nil}}, ""},
		{"more, and no cursor", []map[string]any{{"has_more": true}}, "has_more"},
		{"a circle", []map[string]any{{"next_cursor": "a"}, {"next_cursor": "b"}, {"next_cursor": "a"}}, "same next_cursor twice"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			vault := serve(t, func(n int, w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == reveal {
					w.WriteHeader(404)
					return
				}
				if got, want := r.URL.Query().Get("cursor"), []string{"", "a", "b"}[n-2]; got != want || r.URL.Query().Get("resource_id") != "sb_1" {
					t.Errorf("request %d asks for %s, want cursor %q", n, r.URL.RawQuery, want)
				}
				answer := map[string]any{"data": []any{bound("bnd_"+strconv.Itoa(n), "NAME_"+strconv.Itoa(n-1), "miosa-tok", "sb_1")}}
				maps.Copy(answer, tt.pages[n-2])
				answerJSON(w, 200, answer)
			})
			got, err := client(t, vault.URL).Source(sandbox).Next(t.Context(), "")
			if tt.want != "" {
				if problem, ok := errors.AsType[*fetch.Problem](err); !ok || problem.Reason != fetch.BadAnswer || !strings.Contains(err.Error(), tt.want) || got.Bound != nil {
					t.Errorf("error %v with %d values, want %s", err, len(got.Bound), tt.want)
				}
			} else if diff := cmp.Diff(plaintext(got), [][2]string{{"NAME_1", "miosa-tok"}, {"NAME_2", "miosa-tok"}}); err != nil || diff != "" {
				t.Errorf("error %v, set (-got +want):\n%s", err, diff)
			}
		})
	}
}
