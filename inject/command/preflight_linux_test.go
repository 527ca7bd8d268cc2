package command_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/inject/command"
	"github.com/Miosa-osa/miosa-env/inject/environ"
	"github.com/Miosa-osa/miosa-env/internal/needs"
)

// longest is the maximum length of one string in bytes. Source: execve(2), MAX_ARG_STRLEN.
var longest = 32*os.Getpagesize() - 1

// bind takes NAME, value, NAME, value... The binding of NAME has the id bnd_NAME.
func bind(pairs ...string) []api.Bound {
	var bound []api.Bound
	for p := range slices.Chunk(pairs, 2) {
		bound = append(bound, api.Bound{Label: api.Label{ID: "bnd_" + p[0], ExposeAsEnv: p[0]}, Value: api.NewValue([]byte(p[1]))})
	}
	return bound
}

// kernelTakes executes /bin/true and reports whether the kernel accepts argv and env.
func kernelTakes(t *testing.T, argv, env []string) bool {
	t.Helper()
	p, err := os.StartProcess("/bin/true", argv, &os.ProcAttr{Env: env})
	if errors.Is(err, syscall.E2BIG) {
		return false
	}
	if err != nil {
		t.Fatal(err)
	}
	state, err := p.Wait()
	if err != nil || !state.Success() {
		t.Fatalf("true: %v, %v", state, err)
	}
	return true
}

// preflightTakes reports whether Preflight accepts argv and env. It fails the test on any error but one about a limit.
func preflightTakes(t *testing.T, argv, env []string) bool {
	t.Helper()
	err := command.Preflight("/bin/true", argv, env, nil)
	if err != nil {
		sizes(t, err)
	}
	return err == nil
}

var sizesInError = regexp.MustCompile(` for the kernel: (\d+) bytes, at most (\d+)`)

// sizes returns the size and the limit in an error of Preflight. It fails the test if there are none.
func sizes(t *testing.T, err error) (size, limit int) {
	t.Helper()
	found := sizesInError.FindStringSubmatch(fmt.Sprint(err))
	if found == nil {
		t.Fatalf("error without sizes: %v", err)
	}
	size, _ = strconv.Atoi(found[1])
	limit, _ = strconv.Atoi(found[2])
	return size, limit
}

// filled returns an environment of count variables that takes n bytes, NULs included.
func filled(n, count int) []string {
	env := make([]string, count)
	for i := range env {
		size := (n + i) / count // they add up to n
		name := "V" + strconv.Itoa(i) + "="
		env[i] = name + strings.Repeat("x", size-len(name)-1)
	}
	return env
}

// together starts the error if everything together is too large.
const together = "arguments and environment are too large"

// boundary returns how many bytes filled may take in addition to argv and rest, according to Preflight.
func boundary(t *testing.T, argv []string, count int, rest ...string) int {
	t.Helper()
	const tooMuch = 7 << 20
	err := command.Preflight("/bin/true", argv, append(filled(tooMuch, count), rest...), nil)
	if !strings.HasPrefix(fmt.Sprint(err), together) {
		t.Fatalf("%d bytes: %v", tooMuch, err)
	}
	size, limit := sizes(t, err)
	return tooMuch - (size - limit)
}

// TestLimitOfOneString checks that Preflight's limit for one string is the kernel's, to the byte.
func TestLimitOfOneString(t *testing.T) {
	for _, tt := range []struct {
		name string
		make func(n int) (argv, env []string)
	}{
		{"variable", func(n int) ([]string, []string) { return []string{"true"}, []string{"A=" + strings.Repeat("x", n-2)} }},
		{"argument", func(n int) ([]string, []string) { return []string{"true", strings.Repeat("x", n)}, nil }},
		{"argv[0]", func(n int) ([]string, []string) { return []string{strings.Repeat("x", n)}, nil }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for n, want := range map[int]bool{longest - 1: true, longest: true, longest + 1: false} {
				argv, env := tt.make(n)
				kernel, we := kernelTakes(t, argv, env), preflightTakes(t, argv, env)
				if kernel != want || we != want {
					t.Errorf("%d bytes: the kernel accepts it: %v, Preflight: %v, want %v", n, kernel, we, want)
				}
			}
		})
	}
}

// TestLimitOfAll checks that Preflight's limit for all strings together is the kernel's, under several stack limits,
// each in its own process.
func TestLimitOfAll(t *testing.T) {
	if os.Getenv("INJECT_TEST_STACK") != "" {
		limitOfAll(t)
		return
	}
	for _, kib := range []string{"160", "512", "8192", "unlimited"} {
		t.Run(kib, func(t *testing.T) {
			c := exec.Command("/bin/sh", "-c", `ulimit -S -s "$0" && exec "$@"`, kib, os.Args[0], "-test.run=^TestLimitOfAll$", "-test.v")
			c.Env = append(os.Environ(), "INJECT_TEST_STACK="+kib)
			out, err := c.CombinedOutput()
			if err != nil && strings.Contains(string(out), "ulimit") {
				needs.Granted(t, err, "a stack limit of "+kib+" KiB")
			}
			if err != nil {
				t.Errorf("%v\n%s", err, out)
			}
			for line := range strings.Lines(string(out)) {
				if strings.Contains(line, "bytes") {
					t.Log(strings.TrimSpace(line))
				}
			}
		})
	}
}

func limitOfAll(t *testing.T) {
	for _, count := range []int{64, 5000} {
		for _, argv := range [][]string{{"true"}, {"true", "-x", "", strings.Repeat("y", 999)}} {
			at := boundary(t, argv, count)
			t.Logf("stack %s, %d variables, %d arguments: %d bytes", os.Getenv("INJECT_TEST_STACK"), count, len(argv), at)
			for n, want := range map[int]bool{at: true, at + 1: false} {
				env := filled(n, count)
				kernel, we := kernelTakes(t, argv, env), preflightTakes(t, argv, env)
				if kernel != want || we != want {
					t.Errorf("%d variables, %d arguments, %d bytes: the kernel accepts it: %v, Preflight: %v, want %v", count, len(argv), n, kernel, we, want)
				}
			}
		}
	}
}

func TestLimitErrors(t *testing.T) {
	var many []string
	for i := range 60 {
		many = append(many, fmt.Sprintf("BIG_%d", i), strings.Repeat("v", 120_000+i))
	}
	for _, tt := range []struct {
		name  string
		argv  []string
		own   []string
		bound []api.Bound
		want  string
		hint  string
	}{
		{"all is well", []string{"true"}, []string{"A=1"}, bind("B", "2"), "", ""},
		{"no argument at all", nil, nil, nil, "", ""},
		{"a bound value", []string{"true"}, nil, bind("A", "1", "LONG", strings.Repeat("v", longest-4)),
			fmt.Sprintf("binding bnd_LONG: LONG is too long for the kernel: %d bytes, at most %d", longest+1, longest),
			"leave the binding out with --only, or store the value in parts"},
		{"another variable", []string{"true"}, []string{"LONG=" + strings.Repeat("v", longest)}, nil,
			fmt.Sprintf("LONG is too long for the kernel: %d bytes, at most %d", longest+5, longest), "pass it in a file"},
		{"an argument", []string{"true", "x", strings.Repeat("v", longest+1)}, nil, nil,
			fmt.Sprintf("argument 2 is too long for the kernel: %d bytes, at most %d", longest+1, longest), "pass it in a file"},
		{"all together", []string{"true"}, nil, bind(many...),
			"arguments and environment are too large for the kernel: N bytes, at most M; the largest bound value is binding bnd_BIG_59: BIG_59 with 120066",
			"leave bindings out with --only"},
		{"all together, without bindings", []string{"true"}, filled(7<<20, 100), nil,
			"arguments and environment are too large for the kernel: N bytes, at most M", "leave bindings out with --only"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			built, err := environ.Environment{Inherited: tt.own, Bound: tt.bound}.Build()
			if err != nil {
				t.Fatal(err)
			}
			err = command.Preflight("/bin/true", tt.argv, built.Environ, built.Bound)
			if tt.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			size, limit := sizes(t, err)
			if size <= limit {
				t.Errorf("size %d is within %d", size, limit)
			}
			got := err.Error()
			if strings.HasPrefix(got, together) { // the sizes depend on the stack limit that the test is started with
				got = sizesInError.ReplaceAllString(got, " for the kernel: N bytes, at most M")
			}
			if diff := cmp.Diff(got, tt.want); diff != "" {
				t.Errorf("(-got +want):\n%s", diff)
			}
			var e interface {
				Hint() string
				ExitCode() int
			}
			if !errors.As(err, &e) || !strings.HasPrefix(e.Hint(), tt.hint) || e.ExitCode() != command.ExitFailed {
				t.Errorf("%#v: want the hint %q and exit code %d", err, tt.hint, command.ExitFailed)
			}
		})
	}
}

// TestFault_A16_LimitsAndNames checks that values one byte over a limit, refused names, NULs and duplicates are refused
// before anything is executed, with an error that names the binding and not the value. Values at a limit or one byte
// below are accepted.
// Source: the fault matrix, A16.
func TestFault_A16_LimitsAndNames(t *testing.T) {
	const canary = "canary-7f3a"
	value := func(n int) string { return canary + strings.Repeat("v", n-len(canary)) }
	run := func(bound []api.Bound, own []string) (started bool, err error) {
		built, err := environ.Environment{Inherited: own, Bound: bound}.Build()
		if err != nil {
			return false, err
		}
		if err := command.Preflight("/bin/true", []string{"true"}, built.Environ, built.Bound); err != nil {
			return false, err
		}
		return kernelTakes(t, []string{"true"}, built.Environ), nil
	}
	// The bytes that other variables may take beside one value of 100,000 bytes.
	edge := boundary(t, []string{"true"}, 70, "BIG="+value(100_000))
	for _, tt := range []struct {
		name    string
		bound   []api.Bound
		own     []string
		binding string // named by the error; empty: it runs
	}{
		{"one value at its limit", bind("BIG", value(longest-len("BIG="))), nil, ""},
		{"one byte less", bind("BIG", value(longest-len("BIG=")-1)), nil, ""},
		{"one byte more", bind("BIG", value(longest-len("BIG=")+1)), nil, "bnd_BIG"},
		{"everything at its limit", bind("BIG", value(100_000)), filled(edge, 70), ""},
		{"one byte less in all", bind("BIG", value(99_999)), filled(edge, 70), ""},
		{"one byte more in all", bind("BIG", value(100_001)), filled(edge, 70), "bnd_BIG"},
		{"a name that runs code", bind("LD_PRELOAD", canary), nil, "bnd_LD_PRELOAD"},
		{"a name that moves traffic", bind("https_proxy", canary), nil, "bnd_https_proxy"},
		{"a name of miosa-env", bind("MIOSA_API_KEY", canary), nil, "bnd_MIOSA_API_KEY"},
		{"a value that shells run", bind("A", "() { "+canary), nil, "bnd_A"},
		{"not a name", bind("A-B", canary), nil, "bnd_A-B"},
		{"no name", bind("", canary), nil, "bnd_"},
		{"NUL in the value", bind("A", canary+"\x00"), nil, "bnd_A"},
		{"duplicates", slices.Concat(bind("B", canary), bind("B", canary)), nil, "bnd_B"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			started, err := run(tt.bound, tt.own)
			if tt.binding == "" {
				if err != nil || !started {
					t.Errorf("started: %v, error: %v", started, err)
				}
				return
			}
			if err == nil {
				t.Fatalf("no error; the kernel accepted it: %v", started)
			}
			if !strings.Contains(err.Error(), "binding "+tt.binding+":") {
				t.Errorf("%q doesn't name %s", err, tt.binding)
			}
			if strings.Contains(err.Error(), canary) || strings.Contains(fmt.Sprintf("%#v", err), canary) {
				t.Error("the error contains the value")
			}
		})
	}
}

func BenchmarkPreflight(b *testing.B) {
	env := filled(20_000, 200)
	b.ReportAllocs()
	for b.Loop() {
		if err := command.Preflight("/bin/true", []string{"true"}, env, nil); err != nil {
			b.Fatal(err)
		}
	}
}
