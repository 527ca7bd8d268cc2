package fetch_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/fetch"
)

// refuse answers with an error in the API's form.
func refuse(w http.ResponseWriter, status int, header ...string) {
	for i := 0; i < len(header); i += 2 {
		w.Header().Set(header[i], header[i+1])
	}
	kind := api.KindOf(status)
	answerJSON(w, status, api.ErrorBody{Error: "a sentence about " + strings.ToLower(kind.Code), Code: kind.Code, RequestID: "req_1"})
}

func TestRetryAfter(t *testing.T) {
	const day = "Mon, 02 Jan 2040 15:04:05 GMT"
	date := func(after time.Duration) string {
		at, _ := http.ParseTime(day)
		return at.Add(after).UTC().Format(http.TimeFormat)
	}
	quick := [2]time.Duration{50 * time.Millisecond, 150 * time.Millisecond} // the first delay of the client's own
	after := func(d time.Duration) [2]time.Duration { return [2]time.Duration{d, d + time.Second} }
	for _, tt := range []struct {
		name   string
		status int
		header []string
		body   string // the API's error without retry_after
		pause  [2]time.Duration
		asked  time.Duration // what the error that is returned at once asks for, if no delay fits the budget
	}{
		{name: "429 without", status: 429, pause: quick},
		{name: "429 seconds", status: 429, header: []string{"Retry-After", "3"}, pause: after(3 * time.Second)},
		{name: "429 seconds with spaces", status: 429, header: []string{"Retry-After", " 2 "}, pause: after(2 * time.Second)},
		{name: "429 zero", status: 429, header: []string{"Retry-After", "0"}, pause: quick},
		{name: "503 seconds", status: 503, header: []string{"Retry-After", "3"}, pause: after(3 * time.Second)},
		// The clocks differ by decades: only the two dates of the response count.
		{name: "date", status: 429, header: []string{"Date", day, "Retry-After", date(4 * time.Second)}, pause: after(4 * time.Second)},
		{name: "date gone by", status: 429, header: []string{"Date", day, "Retry-After", date(-time.Hour)}, pause: quick},
		{name: "date far away", status: 429, header: []string{"Date", day, "Retry-After", date(time.Hour)}, asked: time.Hour},
		{name: "garbage", status: 429, header: []string{"Retry-After", "soon"}, pause: quick},
		{name: "negative", status: 429, header: []string{"Retry-After", "-3"}, pause: quick},
		{name: "a fraction", status: 429, header: []string{"Retry-After", "1.5"}, pause: quick},
		{name: "hexadecimal", status: 429, header: []string{"Retry-After", "0x10"}, pause: quick},
		{name: "more than the budget", status: 429, header: []string{"Retry-After", "30"}, asked: 30 * time.Second},
		{name: "decades", status: 429, header: []string{"Retry-After", "1000000000"}, asked: 10 * 365 * 24 * time.Hour},
		{name: "more digits than a number has", status: 429, header: []string{"Retry-After", strings.Repeat("9", 400)}, asked: 10 * 365 * 24 * time.Hour},
		{name: "body", status: 429, body: `{"error":"x","retry_after":2.5}`, pause: after(2500 * time.Millisecond)},
		{name: "body, more than the budget", status: 429, body: `{"error":"x","retry_after":1e300}`, asked: 10 * 365 * 24 * time.Hour},
		{name: "body negative", status: 429, body: `{"error":"x","retry_after":-1}`, pause: quick},
		{name: "body garbage", status: 429, body: `{"error":"x","retry_after":"soon"}`, pause: quick},
		{name: "header before body", status: 429, header: []string{"Retry-After", "1"}, body: `{"error":"x","retry_after":30}`, pause: after(time.Second)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			virtually(t, func(n int, w http.ResponseWriter, r *http.Request) {
				switch {
				case n > 1:
					answerJSON(w, 200, seal(t, r, set()))
				case tt.body == "":
					refuse(w, tt.status, tt.header...)
				default:
					for i := 0; i < len(tt.header); i += 2 {
						w.Header().Set(tt.header[i], tt.header[i+1])
					}
					w.Header().Set("Content-Type", "application/json")
					w.WriteHeader(tt.status)
					_, _ = io.WriteString(w, tt.body)
				}
			}, func(t *testing.T, c *fetch.Client, s *script) {
				var err error
				took := elapsed(func() { _, err = c.Reveal(t.Context(), sandbox, "", 0) })
				if tt.asked > 0 {
					refusal, ok := errors.AsType[*api.Error](err)
					if !ok || refusal.RetryAfter != tt.asked || took > 0 || len(s.times()) != 1 {
						t.Errorf("error %v after %s and %d requests, want one at once that asks for %s", err, took, len(s.times()), tt.asked)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				if seen := s.times(); len(seen) != 2 || took < tt.pause[0] || took > tt.pause[1] {
					t.Errorf("%d requests in %s, want 2 in %s to %s", len(seen), took, tt.pause[0], tt.pause[1])
				}
			})
		})
	}
}

// An error can state whether and when to repeat the request, regardless of its status.
func TestRetryable(t *testing.T) {
	const rotate, list = "PATCH", "GET"
	for _, tt := range []struct {
		name, method string
		status       int
		body         string
		again        bool
		after        time.Duration // at the earliest
	}{
		{"503", list, 503, `{"error":"x"}`, true, 0},
		{"503 that isn't retryable", list, 503, `{"error":{"code":"MAINTENANCE","message":"x","retryable":false}}`, false, 0},
		{"429 that isn't retryable", list, 429, `{"error":{"code":"QUOTA","message":"x","retryable":false}}`, false, 0},
		{"409 that is", list, 409, `{"error":{"code":"BUSY","message":"x","retryable":true}}`, true, 0},
		{"flat, at the top", list, 409, `{"error":"x","retryable":true}`, true, 0},
		{"in words, which say nothing", list, 409, `{"error":{"message":"x","retryable":"yes"}}`, false, 0},
		{"401 that says so", list, 401, `{"error":{"message":"x","retryable":true}}`, false, 0},
		{"403 that says so", list, 403, `{"error":{"message":"x","retryable":true}}`, false, 0},
		{"429 with milliseconds", list, 429, `{"error":{"message":"x","retry_after_ms":1500}}`, true, 1500 * time.Millisecond},
		{"503 with milliseconds", list, 503, `{"error":{"message":"x","retryable":true,"retry_after_ms":2500}}`, true, 2500 * time.Millisecond},
		{"milliseconds at the top", list, 503, `{"error":"x","retry_after_ms":2500}`, true, 2500 * time.Millisecond},
		{"seconds in the error", list, 503, `{"error":{"message":"x","retry_after":2}}`, true, 2 * time.Second},
		{"no sense in them", list, 503, `{"error":{"message":"x","retry_after_ms":-5}}`, true, 0},

		{"an unsafe call", rotate, 503, `{"error":"x"}`, false, 0},
		{"one that the vault says to repeat", rotate, 503, `{"error":{"message":"x","retryable":true,"retry_after_ms":700}}`, true, 700 * time.Millisecond},
		{"the same, flat", rotate, 503, `{"error":"x","retryable":true}`, true, 0},
		{"a fault, which may have changed something", rotate, 500, `{"error":{"message":"x","retryable":true}}`, false, 0},
		{"429 after an unsafe call", rotate, 429, `{"error":{"message":"x"}}`, true, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			virtually(t, func(n int, w http.ResponseWriter, r *http.Request) {
				switch {
				case n == 1:
					w.Header().Set("Content-Type", "application/json; charset=utf-8")
					w.WriteHeader(tt.status)
					_, _ = io.WriteString(w, tt.body)
				case r.Method == rotate:
					answerJSON(w, 200, map[string]any{"data": map[string]any{"id": "sec_1"}})
				default:
					answerJSON(w, 200, map[string]any{"data": []any{}})
				}
			}, func(t *testing.T, c *fetch.Client, s *script) {
				var err error
				took := elapsed(func() {
					if tt.method == rotate {
						_, err = c.RotateSecret(t.Context(), "sec_1", fetch.Rotation{Value: api.NewValue([]byte("canary"))})
					} else {
						_, err = c.Bindings(t.Context(), fetch.BindingFilter{})
					}
				})
				if n := len(s.times()); n != map[bool]int{true: 2, false: 1}[tt.again] || (err == nil) != tt.again || took < tt.after || took > tt.after+2*time.Second {
					t.Errorf("%d requests in %s and error %v, want again: %v after %s", n, took, err, tt.again, tt.after)
				}
			})
		})
	}
}

// The reason for each status, and whether it is temporary.
func TestStatuses(t *testing.T) {
	for _, tt := range []struct {
		status int
		kind   *api.Kind
		reason fetch.Reason
		again  bool
	}{
		{400, api.ErrMalformed, fetch.Refused, false},
		{401, api.ErrUnauthorized, fetch.Unauthorized, false},
		{403, api.ErrDenied, fetch.Denied, false},
		{404, api.ErrNotFound, fetch.NotFound, false},
		{405, api.ErrMethod, fetch.Refused, false},
		{409, api.ErrConflict, fetch.Refused, false},
		{413, api.ErrTooLarge, fetch.Refused, false},
		{418, api.ErrMalformed, fetch.Refused, false},
		{422, api.ErrInvalid, fetch.Refused, false},
		{429, api.ErrRateLimited, fetch.Busy, true},
		{500, api.ErrInternal, fetch.Busy, true},
		{502, api.ErrUnavailable, fetch.Busy, true},
		{503, api.ErrUnavailable, fetch.Busy, true},
		{504, api.ErrUnavailable, fetch.Busy, true},
		{599, api.ErrUnavailable, fetch.Busy, true},
	} {
		t.Run(fmt.Sprint(tt.status), func(t *testing.T) {
			virtually(t, func(_ int, w http.ResponseWriter, _ *http.Request) { refuse(w, tt.status) },
				func(t *testing.T, c *fetch.Client, s *script) {
					var err error
					took := elapsed(func() { _, err = c.Reveal(t.Context(), sandbox, "", 0) })
					problem, ok := errors.AsType[*fetch.Problem](err)
					if !ok || problem.Reason != tt.reason || !errors.Is(err, tt.kind) || api.Temporary(err) != tt.again {
						t.Fatalf("error %v (%+v), want %s", err, problem, tt.reason)
					}
					if !strings.HasPrefix(err.Error(), "a sentence about") {
						t.Errorf("message %q isn't the vault's sentence", err)
					}
					n := len(s.times())
					if !tt.again && n != 1 {
						t.Errorf("%d requests, want 1", n)
					}
					if tt.again && (n < 5 || n > 20 || took > 10*time.Second || took < 5*time.Second) {
						t.Errorf("%d requests in %s, want 5 to 20 within the 10 s", n, took)
					}
				})
		})
	}
}

// A call that is not idempotent is sent once, unless the vault says that it had no effect.
func TestUnsafeCallsAreSentOnce(t *testing.T) {
	calls := map[string]func(context.Context, *fetch.Client) error{
		"put secret": func(ctx context.Context, c *fetch.Client) error {
			_, _, err := c.PutSecret(ctx, api.NewSecret{Name: "n", Value: api.NewValue([]byte("v"))})
			return err
		},
		"rotate secret": func(ctx context.Context, c *fetch.Client) error {
			_, err := c.RotateSecret(ctx, "sec_1", fetch.Rotation{Value: api.NewValue([]byte("v"))})
			return err
		},
		"create resource key": func(ctx context.Context, c *fetch.Client) error {
			_, err := c.CreateResourceKey(ctx, sandbox, nil)
			return err
		},
		"start OAuth": func(ctx context.Context, c *fetch.Client) error {
			_, err := c.StartOAuth(ctx, api.OAuthRequest{Provider: "github"})
			return err
		},
	}
	for _, tt := range []struct {
		name   string
		answer func(w http.ResponseWriter)
		want   int
	}{
		{"500", func(w http.ResponseWriter) { refuse(w, 500) }, 1},
		{"503", func(w http.ResponseWriter) { refuse(w, 503) }, 1},
		{"connection lost", func(http.ResponseWriter) { panic(http.ErrAbortHandler) }, 1},
		{"hangs", func(http.ResponseWriter) { time.Sleep(time.Minute) }, 1},
		{"429", func(w http.ResponseWriter) { refuse(w, 429) }, 2},
	} {
		for what, call := range calls {
			t.Run(tt.name+" "+what, func(t *testing.T) {
				virtually(t, func(n int, w http.ResponseWriter, _ *http.Request) {
					if n == 1 {
						tt.answer(w)
						return
					}
					answerJSON(w, 201, map[string]any{"data": map[string]string{"id": "sec_1", "authorize_url": "https://p.example/a", "state": "st_1"}, "binding": nil})
				}, func(t *testing.T, c *fetch.Client, s *script) {
					err := call(t.Context(), c)
					if n := len(s.times()); n != tt.want || (err == nil) != (tt.want == 2) {
						t.Errorf("%d requests and error %v, want %d", n, err, tt.want)
					}
				})
			})
		}
	}
}

func TestDeleteAfterALostAnswer(t *testing.T) {
	for _, tt := range []struct {
		name    string
		answers []int
		want    error
	}{
		{"deleted", []int{200}, nil},
		{"no content", []int{204}, nil},
		{"an empty answer", []int{202}, nil},
		{"not there", []int{404}, api.ErrNotFound},
		{"answer lost, then not there", []int{500, 404}, nil},
		{"refused after a retry", []int{500, 403}, api.ErrDenied},
	} {
		t.Run(tt.name, func(t *testing.T) {
			virtually(t, func(n int, w http.ResponseWriter, r *http.Request) {
				if r.Method != http.MethodDelete || r.URL.Path != "/api/v1/egress/bindings/bnd_1" {
					t.Errorf("asked for %s %s", r.Method, r.URL.Path)
				}
				switch status := tt.answers[n-1]; status {
				case 200:
					answerJSON(w, 200, map[string]bool{"ok": true})
				case 202, 204:
					w.WriteHeader(status)
				default:
					refuse(w, status)
				}
			}, func(t *testing.T, c *fetch.Client, _ *script) {
				if err := c.DeleteBinding(t.Context(), "bnd_1"); !errors.Is(err, tt.want) {
					t.Errorf("error %v, want %v", err, tt.want)
				}
			})
		})
	}
}

// A recorded response cannot be replayed: no two attempts share a key pair.
func TestEachAttemptHasItsOwnKeyPair(t *testing.T) {
	keys := map[string]bool{}
	virtually(t, func(n int, w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var ask api.RevealRequest
		if err := json.Unmarshal(body, &ask); err != nil || ask.Recipient.Suite != api.SuiteXWing {
			t.Errorf("request %d: %v, suite %s", n, err, ask.Recipient.Suite)
		}
		keys[string(ask.Recipient.PublicKey)] = true
		if n < 4 {
			refuse(w, 503)
			return
		}
		a, _ := api.Seal(ask.Resource, ask.Recipient, set())
		answerJSON(w, 200, a)
	}, func(t *testing.T, c *fetch.Client, _ *script) {
		if _, err := c.Reveal(t.Context(), sandbox, "", 0); err != nil {
			t.Fatal(err)
		}
		if len(keys) != 4 {
			t.Errorf("%d key pairs for 4 attempts", len(keys))
		}
	})
}

func TestCallerEnds(t *testing.T) {
	for _, tt := range []struct {
		name   string
		answer func(w http.ResponseWriter)
	}{
		{"between attempts", func(w http.ResponseWriter) { refuse(w, 503, "Retry-After", "8") }},
		{"in an attempt", func(http.ResponseWriter) { time.Sleep(time.Hour) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			virtually(t, func(_ int, w http.ResponseWriter, _ *http.Request) { tt.answer(w) },
				func(t *testing.T, c *fetch.Client, _ *script) {
					ctx, cancel := context.WithTimeoutCause(t.Context(), 2*time.Second, errors.New("the caller's own cause"))
					defer cancel()
					var err error
					took := elapsed(func() { _, err = c.Reveal(ctx, sandbox, "", 0) })
					if !errors.Is(err, context.DeadlineExceeded) || took != 2*time.Second {
						t.Errorf("error %v after %s", err, took)
					}
				})
		})
	}
}

// The client gives up a vault that hangs or sends slowly within its budget.
func TestSlowVault(t *testing.T) {
	forever := func(r *http.Request) { <-r.Context().Done() }
	drip := func(every time.Duration) func(http.ResponseWriter, *http.Request) {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			for r.Context().Err() == nil {
				if _, err := io.WriteString(w, " "); err != nil {
					return
				}
				_ = http.NewResponseController(w).Flush()
				time.Sleep(every)
			}
		}
	}
	for _, tt := range []struct {
		name     string
		answer   func(w http.ResponseWriter, r *http.Request)
		wait     time.Duration
		ends     [2]time.Duration
		requests int
	}{
		{"hangs", func(_ http.ResponseWriter, r *http.Request) { forever(r) }, 0, [2]time.Duration{5 * time.Second, 10 * time.Second}, 2},
		{"drips a byte a second", drip(time.Second), 0, [2]time.Duration{5 * time.Second, 10 * time.Second}, 1},
		{"drips fast", drip(time.Millisecond), 0, [2]time.Duration{5 * time.Second, 10 * time.Second}, 1},
		{"stalls in the body", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"etag":`)
			_ = http.NewResponseController(w).Flush()
			forever(r)
		}, 0, [2]time.Duration{5 * time.Second, 10 * time.Second}, 1},
		{"hangs past a wait", func(_ http.ResponseWriter, r *http.Request) { forever(r) }, 50 * time.Second, [2]time.Duration{55 * time.Second, 55 * time.Second}, 1},
		{"drips after a wait", func(w http.ResponseWriter, r *http.Request) { time.Sleep(40 * time.Second); drip(time.Second)(w, r) },
			50 * time.Second, [2]time.Duration{50 * time.Second, 50 * time.Second}, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			virtually(t, func(_ int, w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body) // so that the server notices the client's disconnect
				tt.answer(w, r)
			}, func(t *testing.T, c *fetch.Client, s *script) {
				var err error
				took := elapsed(func() { _, err = c.Reveal(t.Context(), sandbox, "etag", tt.wait) })
				problem, ok := errors.AsType[*fetch.Problem](err)
				if !ok || problem.Reason != fetch.TimedOut || !api.Temporary(err) {
					t.Fatalf("error %v", err)
				}
				if n := len(s.times()); took < tt.ends[0] || took > tt.ends[1] || n != tt.requests {
					t.Errorf("given up after %s and %d requests, want %s to %s and %d", took, n, tt.ends[0], tt.ends[1], tt.requests)
				}
			})
		})
	}
}

func TestWaitingReveal(t *testing.T) {
	for _, tt := range []struct {
		name   string
		answer func(t *testing.T, w http.ResponseWriter, r *http.Request)
		took   time.Duration
		want   error
	}{
		{"no change", func(_ *testing.T, w http.ResponseWriter, _ *http.Request) {
			time.Sleep(50 * time.Second)
			w.WriteHeader(304)
		},
			50 * time.Second, api.ErrNotModified},
		{"a change", func(t *testing.T, w http.ResponseWriter, r *http.Request) {
			a := seal(t, r, set())
			time.Sleep(20 * time.Second)
			answerJSON(w, 200, a)
		}, 20 * time.Second, nil},
		{"the key is revoked", func(_ *testing.T, w http.ResponseWriter, _ *http.Request) { time.Sleep(time.Second); refuse(w, 401) },
			time.Second, api.ErrUnauthorized},
	} {
		t.Run(tt.name, func(t *testing.T) {
			virtually(t, func(_ int, w http.ResponseWriter, r *http.Request) { tt.answer(t, w, r) },
				func(t *testing.T, c *fetch.Client, s *script) {
					var err error
					took := elapsed(func() { _, err = c.Reveal(t.Context(), sandbox, "etag", 50*time.Second+time.Millisecond) })
					if !errors.Is(err, tt.want) || took != tt.took || len(s.times()) != 1 {
						t.Errorf("error %v after %s and %d requests, want %v after %s", err, took, len(s.times()), tt.want, tt.took)
					}
				})
		})
	}
}
