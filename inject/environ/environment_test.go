package environ_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/inject/environ"
)

// bind takes NAME, value, NAME, value... The binding of NAME has the id bnd_NAME.
func bind(pairs ...string) []api.Bound {
	var bound []api.Bound
	for p := range slices.Chunk(pairs, 2) {
		bound = append(bound, api.Bound{
			Label: api.Label{ID: "bnd_" + p[0], SecretID: "sec_" + p[0], ExposeAsEnv: p[0], Version: 1},
			Value: api.NewValue([]byte(p[1])),
		})
	}
	return bound
}

// envFile writes text to a new file and returns its path.
func envFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "test.env")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestBuild(t *testing.T) {
	one := envFile(t, "A=file\nB=file\n# comment\nexport C='quoted $A'\nD=\"${A}-x\"\n")
	two := envFile(t, "B=second\nE=last\n")
	for _, tt := range []struct {
		name  string
		env   environ.Environment
		want  []string
		bound string // names in Built.Bound
	}{
		{"nothing", environ.Environment{}, nil, ""},
		{"inherited as it is", environ.Environment{Inherited: []string{"B=1", "A=x=y", "C="}}, []string{"B=1", "A=x=y", "C="}, ""},
		{"malformed entries are kept unchanged", environ.Environment{Inherited: []string{"=x", "", "ODD", "ODD", "A B=\xff\xfe", "BASH_FUNC_f%%=() {  :\n}", "LD_PRELOAD=/x.so"}},
			[]string{"=x", "", "ODD", "ODD", "A B=\xff\xfe", "BASH_FUNC_f%%=() {  :\n}", "LD_PRELOAD=/x.so"}, ""},
		{"the first of inherited duplicates, which getenv finds", environ.Environment{Inherited: []string{"A=1", "B=2", "A=3"}}, []string{"A=1", "B=2"}, ""},
		{"a bound value replaces the entry in place", environ.Environment{Inherited: []string{"A=1", "B=2"}, Bound: bind("A", "new", "C", "3")}, []string{"A=new", "B=2", "C=3"}, "A C"},
		{"an empty value is a value", environ.Environment{Inherited: []string{"A=1"}, Bound: bind("A", "")}, []string{"A="}, "A"},
		{"value bytes", environ.Environment{Bound: bind("A", "line\nline=\xff'\"$x")}, []string{"A=line\nline=\xff'\"$x"}, "A"},
		{"files over inherited, later over earlier", environ.Environment{Inherited: []string{"Z=z", "A=inherited"}, Files: []string{one, two}},
			[]string{"Z=z", "A=file", "B=second", "C=quoted $A", "D=${A}-x", "E=last"}, ""},
		{"bound over files", environ.Environment{Files: []string{one}, Bound: bind("B", "bound")}, []string{"A=file", "B=bound", "C=quoted $A", "D=${A}-x"}, "B"},
		{"preserve all", environ.Environment{Inherited: []string{"A=1", "E="}, Files: []string{two}, Bound: bind("A", "x", "B", "x", "E", "x", "N", "x"), PreserveEnv: true},
			[]string{"A=1", "E=last", "B=second", "N=x"}, "N"},
		{"preserve an empty variable", environ.Environment{Inherited: []string{"A="}, Bound: bind("A", "x"), PreserveEnv: true}, []string{"A="}, ""},
		{"preserve by name", environ.Environment{Inherited: []string{"A=1", "B=2"}, Bound: bind("A", "x", "B", "x"), PreserveNames: []string{"B"}}, []string{"A=x", "B=2"}, "A"},
		{"preserve is by final name", environ.Environment{Inherited: []string{"P_A=1", "A=1"}, Bound: bind("A", "x"), Prefix: "P_", PreserveNames: []string{"P_A", "A"}}, []string{"P_A=1", "A=1"}, ""},
		{"pristine", environ.Environment{Inherited: []string{"A=1", "Z=z"}, Files: []string{two}, Bound: bind("A", "x"), Pristine: true}, []string{"B=second", "E=last", "A=x"}, "A"},
		{"pristine preserves nothing inherited", environ.Environment{Inherited: []string{"A=1"}, Bound: bind("A", "x"), Pristine: true, PreserveEnv: true}, []string{"A=x"}, "A"},
		{"only names", environ.Environment{Bound: bind("A", "1", "B", "2", "C", "3"), Only: []string{"C", "A"}}, []string{"A=1", "C=3"}, "A C"},
		{"only patterns", environ.Environment{Bound: bind("DB_URL", "1", "DB_USER", "2", "KEY", "3", "X1", "4"), Only: []string{"DB_*", "X[0-9]"}}, []string{"DB_URL=1", "DB_USER=2", "X1=4"}, "DB_URL DB_USER X1"},
		{"prefix", environ.Environment{Bound: bind("A", "1"), Prefix: "APP_"}, []string{"APP_A=1"}, "APP_A"},
		{"only is before prefix", environ.Environment{Bound: bind("A", "1", "B", "2"), Prefix: "APP_", Only: []string{"A"}}, []string{"APP_A=1"}, "APP_A"},
		{"what only leaves out isn't guarded", environ.Environment{Bound: bind("A", "1", "LD_PRELOAD", "2"), Only: []string{"A"}}, []string{"A=1"}, "A"},
		{"a prefix makes a refused name harmless", environ.Environment{Bound: bind("PATH", "1"), Prefix: "APP_"}, []string{"APP_PATH=1"}, "APP_PATH"},
		{"env files may set what bindings may not", environ.Environment{Files: []string{envFile(t, "PATH=/x\nHTTPS_PROXY=http://p\n")}}, []string{"HTTPS_PROXY=http://p", "PATH=/x"}, ""},
		{"keys are removed, other variables of miosa-env are kept", environ.Environment{Inherited: []string{
			"MIOSA_API_KEY=k", "MIOSA_API_KEY_FILE=/k", "MIOSA_TENANT_KEY=k", "MIOSA_TENANT_KEY_FILE=/k", "MIOSA_API_KEY=again",
			"MIOSA_BASE_URL=u", "MIOSA_SANDBOX_ID=sb_1", "MIOSA_API_KEYS=mine"}},
			[]string{"MIOSA_BASE_URL=u", "MIOSA_SANDBOX_ID=sb_1", "MIOSA_API_KEYS=mine"}, ""},
		{"keys in files are removed", environ.Environment{Files: []string{envFile(t, "MIOSA_API_KEY=k\nA=1")}}, []string{"A=1"}, ""},
		{"keep key", environ.Environment{Inherited: []string{"MIOSA_API_KEY=k", "MIOSA_TENANT_KEY=t"}, KeepKey: true}, []string{"MIOSA_API_KEY=k", "MIOSA_TENANT_KEY=t"}, ""},
		{"required from any source", environ.Environment{Inherited: []string{"A=1"}, Files: []string{two}, Bound: bind("C", ""), Prefix: "P_", Require: []string{"A", "B", "P_C"}},
			[]string{"A=1", "B=second", "E=last", "P_C="}, "P_C"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			built, err := tt.env.Build()
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(built.Environ, tt.want) {
				t.Errorf("environ (-got +want):\n%s", cmp.Diff(built.Environ, tt.want))
			}
			var bound []string
			for _, n := range built.Bound {
				bound = append(bound, n.ExposeAsEnv)
			}
			if diff := cmp.Diff(strings.Join(bound, " "), tt.bound); diff != "" {
				t.Errorf("bound (-got +want):\n%s", diff)
			}
			again, err := tt.env.Build()
			if err != nil || !slices.Equal(again.Environ, built.Environ) {
				t.Errorf("a second Build differs: %v", err)
			}
		})
	}
}

// TestBuildLeavesItsInputsAlone checks that Build modifies neither the inherited environment nor the bindings.
func TestBuildLeavesItsInputsAlone(t *testing.T) {
	inherited := []string{"A=1", "MIOSA_API_KEY=k", "B=2"}
	bound := bind("A", "x", "B", "y", "C", "z")
	env := environ.Environment{Inherited: inherited, Bound: bound, Prefix: "P_", Only: []string{"B", "C"}}
	if _, err := env.Build(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(inherited, []string{"A=1", "MIOSA_API_KEY=k", "B=2"}); diff != "" {
		t.Errorf("inherited (-got +want):\n%s", diff)
	}
	for i, name := range []string{"A", "B", "C"} {
		if bound[i].ExposeAsEnv != name {
			t.Errorf("bound[%d] is now %s", i, bound[i].ExposeAsEnv)
		}
	}
}

func TestBuildErrors(t *testing.T) {
	bad := envFile(t, "A=1\nB='open canary\n")
	for _, tt := range []struct {
		name string
		env  environ.Environment
		want string
		hint string
	}{
		{"missing", environ.Environment{Inherited: []string{"A=1"}, Require: []string{"B", "A", "C", "B"}}, "required but not set: B, C",
			"bind a secret to it (miosa-env list shows what is bound), set it in an env file, or drop --require"},
		{"our key can't be required without keeping it", environ.Environment{Inherited: []string{"MIOSA_API_KEY=k"}, Require: []string{"MIOSA_API_KEY"}}, "required but not set: MIOSA_API_KEY",
			"bind a secret to it (miosa-env list shows what is bound), set it in an env file, or drop --require"},
		{"pattern", environ.Environment{Bound: bind("A", "1"), Only: []string{"[", "A", "x["}}, "--only [: not a pattern\n--only x[: not a pattern", ""},
		{"prefix", environ.Environment{Bound: bind("A", "1"), Prefix: "1-"}, "--prefix 1-: want letters, digits and _, no digit first\n" +
			"binding bnd_A: 1-A isn't a name: want letters, digits and _, no digit first",
			"bind the secret under another name, or leave the binding out with --only"},
		{"a file that isn't there", environ.Environment{Files: []string{"/nonexistent/x.env"}}, "env file /nonexistent/x.env: no such file or directory",
			"check the path, and that this user may read it; a relative one starts at the working directory"},
		{"with a broken file nothing is called missing", environ.Environment{Files: []string{bad}, Require: []string{"Q"}}, "env file " + bad + " line 2 column 3: a quote that isn't closed",
			"write the closing quote; a ' in the value takes double quotes around it"},
		{"everything at once", environ.Environment{Files: []string{bad, "/nonexistent/x.env"}, Bound: bind("PATH", "canary", "MIOSA_X", "canary"), Only: []string{"*", "["}},
			"--only [: not a pattern\n" +
				"env file " + bad + " line 2 column 3: a quote that isn't closed\n" +
				"env file /nonexistent/x.env: no such file or directory\n" +
				"binding bnd_PATH: PATH is refused: it can make programs run other code (--allow-name PATH lets it through)\n" +
				"binding bnd_MIOSA_X: MIOSA_X is refused: it belongs to miosa-env or the service manager",
			"write the closing quote; a ' in the value takes double quotes around it"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			built, err := tt.env.Build()
			if err == nil {
				t.Fatal("no error")
			}
			if diff := cmp.Diff(err.Error(), tt.want); diff != "" {
				t.Errorf("error (-got +want):\n%s", diff)
			}
			if built.Environ != nil {
				t.Error("Build returned an environment with the error")
			}
			var hinter interface{ Hint() string }
			hint := ""
			if errors.As(err, &hinter) {
				hint = hinter.Hint()
			}
			if diff := cmp.Diff(hint, tt.hint); diff != "" {
				t.Errorf("hint (-got +want):\n%s", diff)
			}
		})
	}
}

func TestBuildWarnings(t *testing.T) {
	built, err := environ.Environment{
		Bound: bind("HOME", "/x", "A", "1", "LC_ALL", "C", "TZ", "x"),
		Only:  []string{"HOME", "A", "L*", "NOPE*", "TZ"}, AllowNames: []string{"TZ"},
	}.Build()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, w := range built.Warnings {
		got = append(got, w.Kind+": "+w.String())
	}
	want := []string{
		"only: --only NOPE* matches no binding",
		"name: binding bnd_HOME sets HOME, which changes how programs behave",
		"name: binding bnd_LC_ALL sets LC_ALL, which changes how programs behave",
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("warnings (-got +want):\n%s", diff)
	}
}

// TestFingerprint checks that a fingerprint changes only with the bound variables that the command gets.
func TestFingerprints(t *testing.T) {
	seenBy := func(e environ.Environment) map[string]environ.Fingerprint {
		built, err := e.Build()
		if err != nil {
			t.Fatal(err)
		}
		return built.Fingerprints()
	}
	only := []string{"A", "B"}
	base := seenBy(environ.Environment{Bound: bind("A", "1", "B", "2"), Only: only})
	for _, tt := range []struct {
		name string
		env  environ.Environment
		same bool
	}{
		{"the same again", environ.Environment{Bound: bind("A", "1", "B", "2"), Only: only}, true},
		{"another order", environ.Environment{Bound: bind("B", "2", "A", "1"), Only: only}, true},
		{"a binding that isn't asked for", environ.Environment{Bound: bind("A", "1", "B", "2", "C", "3"), Only: only}, true},
		{"a binding that is overruled", environ.Environment{Inherited: []string{"C=own"}, Bound: bind("A", "1", "B", "2", "C", "3"), PreserveNames: []string{"C"}}, true},
		{"another version of the same value", environ.Environment{Bound: func() []api.Bound {
			b := bind("A", "1", "B", "2")
			b[0].Version, b[0].ID = 7, "bnd_other"
			return b
		}()}, true},
		{"another value", environ.Environment{Bound: bind("A", "1", "B", "3"), Only: only}, false},
		{"values swapped", environ.Environment{Bound: bind("A", "2", "B", "1"), Only: only}, false},
		{"one gone", environ.Environment{Bound: bind("A", "1"), Only: only}, false},
		{"one more", environ.Environment{Bound: bind("A", "1", "B", "2", "C", "3")}, false},
		{"another name", environ.Environment{Bound: bind("A", "1", "B", "2"), Prefix: "P_"}, false},
		{"the border moved", environ.Environment{Bound: bind("A", "1B", "B", "2")}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if same := maps.Equal(seenBy(tt.env), base); same != tt.same {
				t.Errorf("same: got %v, want %v", same, tt.same)
			}
		})
	}
}

// BenchmarkBuild measures Build with 100 inherited variables and 100 bindings.
func BenchmarkBuild(b *testing.B) {
	env := environ.Environment{}
	var pairs []string
	for i := range 100 {
		env.Inherited = append(env.Inherited, fmt.Sprintf("INHERITED_%d=%s", i, strings.Repeat("x", 20)))
		pairs = append(pairs, fmt.Sprintf("SECRET_%d", i), strings.Repeat("s", 40))
	}
	env.Bound = bind(pairs...)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := env.Build(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkFingerprints(b *testing.B) {
	var pairs []string
	for i := range 100 {
		pairs = append(pairs, fmt.Sprintf("SECRET_%d", i), strings.Repeat("s", 40))
	}
	built, err := environ.Environment{Bound: bind(pairs...)}.Build()
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		built.Fingerprints()
	}
}
