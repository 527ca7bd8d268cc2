package socket_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/Miosa-osa/miosa-env/agent"
	"github.com/Miosa-osa/miosa-env/agent/socket"
	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/test/agenttest"
	"github.com/google/go-cmp/cmp"
)

// many returns a set of n values, some of them empty, long, or with words of the protocol.
func many(n int) api.Snapshot {
	expires := time.Date(2031, 2, 3, 4, 5, 6, 7, time.FixedZone("east", 3600))
	odd := []string{"canary-a", "", "line\nset 2 fresh 0 values 1\n", strings.Repeat("long ", 40), "\x00{\"error\":1}", "ü"}
	set := make([]api.Bound, n)
	for i := range set {
		label := api.Label{
			ID: fmt.Sprintf("bnd_%026d", i), SecretID: fmt.Sprintf("sec_%026d", i), ExposeAsEnv: fmt.Sprintf("VARIABLE_%d", i),
			Version: int64(i)*int64(i)*1000 + 1, Delivery: api.DeliverValue,
		}
		if i%3 == 1 {
			label.ExpiresAt = &expires
		}
		set[i] = api.Bound{Label: label, Value: api.NewValue([]byte(odd[i%len(odd)]))}
	}
	return agenttest.Set(set)
}

// opened returns a set as text, to compare.
func opened(s api.Snapshot) []string {
	out := []string{s.Resource.String(), s.Etag}
	for _, b := range s.Bound {
		expires := "never"
		if b.ExpiresAt != nil {
			expires = b.ExpiresAt.UTC().Format(time.RFC3339Nano)
		}
		out = append(out, fmt.Sprintf("%s %s %s %d %s %s %q", b.ID, b.SecretID, b.ExposeAsEnv, b.Version, b.Delivery, expires, b.Value.Reveal()))
	}
	return out
}

// A set is received as it was sent, however its bytes are split.
func TestSetEncoding(t *testing.T) {
	for _, n := range []int{0, 1, 2, 7, 100, 1000} {
		for _, step := range []int{1, 3, 1000, 1 << 20} {
			if n == 1000 && step < 1000 {
				continue
			}
			t.Run(fmt.Sprintf("%d values, %d bytes at a time", n, step), func(t *testing.T) {
				set := many(n)
				text, err := socket.EncodeAnswer(set, agent.Status{State: agent.Fresh}, func() int { return step })
				if err != nil {
					t.Fatal(err)
				}
				var from io.Reader = bytes.NewReader(text)
				if step == 1 {
					from = iotest.OneByteReader(from)
				}
				got, same, line, err := socket.ReadReply(from)
				if err != nil || same || line != nil {
					t.Fatalf("same = %v, line %q, error %v", same, line, err)
				}
				if diff := cmp.Diff(opened(got), opened(set)); diff != "" {
					t.Errorf("set (-got +want):\n%s", diff)
				}
			})
		}
	}
}

// A value that was wiped after its length was sent isn't sent as a shorter one.
func TestWipedValuesAreNotSent(t *testing.T) {
	gone := false
	set := many(20)
	for i := 10; i < 20; i++ {
		set.Bound[i].Value = api.NewLentValue(func(use func([]byte)) {
			if gone {
				use(nil)
				return
			}
			use([]byte("canary"))
		})
	}
	steps := 0
	text, err := socket.EncodeAnswer(set, agent.Status{State: agent.Fresh}, func() int {
		steps++
		gone = steps == 2
		return 10
	})
	if err == nil || len(text) != 20 {
		t.Fatalf("%d bytes sent, error %v", len(text), err)
	}
	if _, _, _, err := socket.ReadReply(bytes.NewReader(text)); !errors.Is(err, api.ErrUnavailable) {
		t.Errorf("the client accepts it: %v", err)
	}
}

func TestRequests(t *testing.T) {
	for _, tt := range []struct {
		name, line, want string // want: of the error
	}{
		{"reveal", `{"op":"reveal","resource_type":"sandbox","resource_id":"sb_1"}`, ""},
		{"all fields", `{"op":"reveal","resource_type":"computer","resource_id":"c","etag":"x\"\u0000","wait_seconds":60}`, ""},
		{"bindings", `{"op":"bindings","resource_type":"sandbox","resource_id":"sb_1"}`, ""},
		{"bindings without a resource", `{"op":"bindings"}`, "resource_type is required"},
		{"bindings with a wait", `{"op":"bindings","resource_type":"sandbox","resource_id":"sb_1","wait_seconds":1}`, "only a reveal"},
		{"status", `{"op":"status"}`, ""},
		{"refresh with white space", ` { "op" : "refresh" } `, ""},
		{"nothing", ``, "isn't one line of JSON"},
		{"a list", `[]`, "isn't one line of JSON"},
		{"null", `null`, "op must be"},
		{"no op", `{}`, "op must be"},
		{"another op", `{"op":"dump"}`, "op must be"},
		{"a number", `{"op":7}`, "isn't one line of JSON"},
		{"truncated", `{"op":"status"`, "isn't one line of JSON"},
		{"two requests", `{"op":"status"}{"op":"status"}`, "more than one"},
		{"unknown field", `{"op":"reveal","resource_type":"sandbox","resource_id":"sb_1","only":"A"}`, "isn't one line of JSON"},
		{"no resource", `{"op":"reveal"}`, "resource_type is required"},
		{"invalid resource", `{"op":"reveal","resource_type":"sandbox","resource_id":"../x"}`, "resource_id must be"},
		{"wait too long", `{"op":"reveal","resource_type":"sandbox","resource_id":"sb_1","wait_seconds":61}`, "wait_seconds must be 0 to 60"},
		{"negative wait", `{"op":"reveal","resource_type":"sandbox","resource_id":"sb_1","wait_seconds":-1}`, "wait_seconds must be 0 to 60"},
		{"status with an etag", `{"op":"status","etag":"x"}`, "have a resource"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			again, err := socket.ParseRequest([]byte(tt.line))
			if tt.want != "" {
				if err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Fatalf("error %v, want %q", err, tt.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			twice, err := socket.ParseRequest(again)
			if err != nil || !bytes.Equal(twice, again) {
				t.Errorf("encoded %q, parsed and encoded again %q, %v", again, twice, err)
			}
		})
	}
}

func TestInvalidReplies(t *testing.T) {
	text, err := socket.EncodeAnswer(many(3), agent.Status{State: agent.Fresh}, func() int { return 1 << 20 })
	if err != nil {
		t.Fatal(err)
	}
	whole := string(text)
	head, rest, _ := strings.Cut(whole, "\n")
	for _, tt := range []struct{ name, text string }{
		{"nothing", ""},
		{"another word", "give" + whole[3:]},
		{"another version", "set 1" + whole[5:]},
		{"word missing", strings.Replace(head, " values", "", 1) + "\n" + rest},
		{"a size too large", "set 2 fresh 0 values 99999999999\n" + rest},
		{"negative size", "set 2 fresh 0 values -1\n" + rest},
		{"empty size", "set 2 fresh 0 values 0\n" + rest},
		{"the set is longer", strings.Replace(head, " values ", " values 1", 1) + "\n" + rest},
		{"no set", "set 2 fresh 0 values 3\n{}x"},
		{"invalid age", "same 2 fresh soon\n"},
		{"age too large", "same 2 fresh 9223372036854775807\n"},
		{"same with more words", "same 2 fresh 0 0\n"},
		{"a long line", strings.Repeat("x", 2<<20)},
		{"HTTP response", "HTTP/1.0 200 OK\r\n\r\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if set, same, line, err := socket.ReadReply(strings.NewReader(tt.text)); err == nil {
				t.Errorf("accepted: %v, same = %v, line %q", opened(set), same, line)
			}
		})
	}
	for n := range len(whole) {
		if _, _, _, err := socket.ReadReply(strings.NewReader(whole[:n])); err == nil {
			t.Errorf("accepted though cut after %d bytes of %d", n, len(whole))
		}
	}
	for _, line := range []string{"{", "{}", `{"code":""}`, `{"status":7}`, `{"error":7,"code":"X"}`} {
		if socket.ReplyError([]byte(line)) == nil {
			t.Errorf("no error in %s", line)
		}
	}
}

// A request that is accepted can be encoded and parsed again, by encoding/json too.
func FuzzRequest(f *testing.F) {
	f.Add([]byte(`{"op":"reveal","resource_type":"sandbox","resource_id":"sb_1","etag":"abc","wait_seconds":50}`))
	f.Add([]byte(`{"op":"status"}`))
	f.Add([]byte(`{"op":"refresh"} `))
	f.Add([]byte(`{"op":"reveal","resource_type":"computer","resource_id":"c","etag":"\u2028\"\\\ud800"}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		again, err := socket.ParseRequest(line)
		if err != nil {
			return
		}
		if !bytes.HasSuffix(again, []byte("\n")) || bytes.Count(again, []byte("\n")) != 1 {
			t.Fatalf("%q isn't a line", again)
		}
		twice, err := socket.ParseRequest(again)
		if err != nil || !bytes.Equal(twice, again) {
			t.Fatalf("%q is parsed as %q, %v", again, twice, err)
		}
		var got, want map[string]any
		if json.Unmarshal(again, &got) != nil || json.Unmarshal(line, &want) != nil {
			return // null
		}
		if op := want["op"]; op != nil && op != got["op"] {
			t.Fatalf("%q became %q", line, again)
		}
	})
}

// No reply causes a panic, and a set that is accepted has the values at the end of the reply.
func FuzzAnswer(f *testing.F) {
	for _, n := range []int{0, 1, 7} {
		text, err := socket.EncodeAnswer(many(n), agent.Status{State: agent.Stale, Age: 3.25, Placeholders: n == 1}, func() int { return 1 << 20 })
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
		f.Add(text[:len(text)*2/3])
	}
	f.Add([]byte("same 2 fresh 12\n"))
	f.Add([]byte(`{"error":"no","code":"FORBIDDEN","retry_after":1e300}` + "\n"))
	f.Add([]byte(`{"status":{"state":"fresh","outputs":[{}]}}` + "\n"))
	f.Add([]byte("set 2 fresh 0 values 4\n\xff\xff\xff\xff"))
	f.Add([]byte("set 2 fresh 0 values 3\n{}\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		given := slices.Clone(text)
		set, same, line, err := socket.ReadReply(bytes.NewReader(text))
		if !bytes.Equal(text, given) {
			t.Fatal("the answer was changed")
		}
		switch {
		case err != nil:
			if len(set.Bound) > 0 || same || line != nil {
				t.Fatalf("both an error and a set: %v", err)
			}
		case line != nil:
			_ = socket.ReplyError(line)
		case !same:
			all := ""
			for _, b := range set.Bound {
				all += b.Value.Reveal()
			}
			if _, rest, _ := strings.Cut(string(text), "\n"); !strings.Contains(rest, all) {
				t.Fatalf("values %q aren't in the answer", all)
			}
			again, err := socket.EncodeAnswer(set, agent.Status{State: agent.Fresh}, func() int { return 7 })
			if err != nil {
				t.Fatal(err)
			}
			back, _, _, err := socket.ReadReply(bytes.NewReader(again))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(opened(back), opened(set)); diff != "" {
				t.Fatalf("encoded again (-got +want):\n%s", diff)
			}
		}
	})
}
