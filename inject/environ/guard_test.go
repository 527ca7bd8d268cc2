package environ_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/Miosa-osa/miosa-env/inject/environ"
)

// Names of each class. For a pattern, the list has examples.
// Source: docs/security.md, "Names a binding must not set".
const (
	codeNames = `LD_PRELOAD LD_LIBRARY_PATH LD_AUDIT LD_ANYTHING LD_ _RLD_LIST _RLD DYLD_INSERT_LIBRARIES SHLIB_PATH LIBPATH
GLIBC_TUNABLES GCONV_PATH GETCONF_DIR LOCPATH NLSPATH MALLOC_TRACE
BASH_ENV ENV BASHOPTS SHELLOPTS PS0 PS4 PROMPT_COMMAND BASH_FUNC_ls BASH_LOADABLES_PATH
IFS CDPATH GLOBIGNORE FPATH ZDOTDIR NULLCMD READNULLCMD PATH
PYTHONPATH PYTHONHOME PYTHONSTARTUP PYTHONINSPECT PYTHONUSERBASE PYTHONWARNINGS PYTHONBREAKPOINT
PERL5OPT PERL5LIB PERL5DB PERLLIB PERLIO_DEBUG RUBYOPT RUBYLIB RUBYSHELL BUNDLE_GEMFILE
NODE_OPTIONS NODE_PATH BUN_OPTIONS JAVA_TOOL_OPTIONS _JAVA_OPTIONS JDK_JAVA_OPTIONS CLASSPATH
PHPRC PHP_INI_SCAN_DIR LUA_INIT LUA_INIT_5_4 LUA_PATH LUA_CPATH_5_4 DOTNET_STARTUP_HOOKS CORECLR_PROFILER CORECLR_PROFILER_PATH
COR_PROFILER ERL_FLAGS ERL_AFLAGS ELIXIR_ERL_OPTIONS
GIT_SSH GIT_SSH_COMMAND GIT_CONFIG_COUNT GIT_CONFIG_KEY_0 GIT_CONFIG_GLOBAL GIT_EXEC_PATH GIT_ASKPASS GIT_EXTERNAL_DIFF
GIT_PROXY_COMMAND GIT_EDITOR GIT_PAGER SSH_ASKPASS SUDO_ASKPASS PAGER EDITOR VISUAL BROWSER LESSOPEN LESSCLOSE OPENSSL_CONF
OPENSSL_MODULES OPENSSL_ENGINES RUSTC_WRAPPER GOFLAGS MAKEFLAGS NPM_CONFIG_PREFIX npm_config_node_options Npm_Config_X
RUSTFLAGS CARGO_BUILD_RUSTC CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER CARGO_HOME TAR_OPTIONS VIMINIT GVIMINIT EXINIT ZIPOPT LESS MANOPT FZF_DEFAULT_COMMAND
GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE GIT_ALTERNATE_OBJECT_DIRECTORIES GIT_TRACE GIT_ALLOW_PROTOCOL GIT_ANYTHING CC CXX LD AR CFLAGS LDFLAGS CMAKE_TOOLCHAIN_FILE
PYTEST_ADDOPTS PYTEST_PLUGINS PIP_INDEX_URL PIP_CONFIG_FILE PIP_USER UV_DEFAULT_INDEX MAVEN_OPTS MAVEN_ARGS GRADLE_OPTS GRADLE_USER_HOME JAVA_OPTS CATALINA_OPTS
COMPOSE_FILE ANSIBLE_CONFIG ANSIBLE_VAULT_PASSWORD_FILE TF_CLI_ARGS_plan CLOUDSDK_PYTHON AZURE_CONFIG_DIR CLAUDE_CONFIG_DIR XDG_CONFIG_HOME XDG_CONFIG_DIRS
AWS_PAGER GH_PAGER KUBE_EDITOR SYSTEMD_PAGER SUDO_EDITOR GOTOOLCHAIN GOCACHEPROG CGO_CFLAGS MAKEFILES WGETRC PSQLRC GNUPGHOME`
	trafficNames = `HTTP_PROXY HTTPS_PROXY ALL_PROXY FTP_PROXY NO_PROXY http_proxy https_proxy no_proxy Http_Proxy SOCKS_PROXY _PROXY
SSL_CERT_FILE SSL_CERT_DIR REQUESTS_CA_BUNDLE CURL_CA_BUNDLE NODE_EXTRA_CA_CERTS NODE_TLS_REJECT_UNAUTHORIZED
GIT_SSL_NO_VERIFY GIT_SSL_CAINFO SSLKEYLOGFILE KUBECONFIG DOCKER_HOST DOCKER_CONFIG DOCKER_CERT_PATH
AWS_ENDPOINT_URL AWS_ENDPOINT_URL_S3 AWS_CONFIG_FILE AWS_SHARED_CREDENTIALS_FILE AWS_CA_BUNDLE
DOCKER_CONTEXT DOCKER_TLS_VERIFY DOCKER_CONTENT_TRUST DOCKER_BUILDKIT CONTAINER_HOST OPENAI_BASE_URL ANTHROPIC_BASE_URL OPENAI_API_BASE AZURE_OPENAI_API_ENDPOINT
GOPROXY GOSUMDB CURL_HOME POETRY_REPOSITORIES_X_URL
KRB5_CONFIG KRB5_KTNAME HOSTALIASES LOCALDOMAIN RES_OPTIONS SSH_AUTH_SOCK`
	warnedNames = `HOME USER LOGNAME SHELL PWD TMPDIR TZ TZDIR TERM TERMINFO TERMCAP LANG LC_ALL LC_MESSAGES GODEBUG GOTRACEBACK GIT_AUTHOR_NAME GIT_COMMITTER_EMAIL`
	ownNames    = `MIOSA_API_KEY MIOSA_TENANT_KEY MIOSA_BASE_URL MIOSA_ANYTHING MIOSA_ CREDENTIALS_DIRECTORY LISTEN_FDS LISTEN_PID LISTEN_FDNAMES
NOTIFY_SOCKET WATCHDOG_USEC WATCHDOG_PID`
	plainNames = `A _ a1 DATABASE_URL STRIPE_KEY OPENAI_API_KEY PROXY PROXY_URL MY_PATH PATHS XLD_PRELOAD ld_preload path env pager AWS_ACCESS_KEY_ID
AWS_SECRET_ACCESS_KEY GITHUB_TOKEN GIT_TOKEN NPM_TOKEN NPM_CONFIG KUBE NODE_ENV PYTHON MIOSA miosa_api_key SSL LCX HOMEPAGE
CREDENTIALS LISTEN NOTIFY WATCHDOG LUA JAVA_HOME GIT_PASSWORD GIT_ACCESS_TOKEN GIT_USERNAME GIT GITLAB_TOKEN PIP_TOKEN PIP_PASSWORD DOCKER_PASSWORD DOCKER_USERNAME DOCKER_TOKEN
DOCKER_AUTH_CONFIG DOCKERHUB_TOKEN MAVEN_PASSWORD MAVEN_GPG_PASSPHRASE MAVEN_GPG_KEY GRADLE_ENCRYPTION_KEY ORG_GRADLE_PROJECT_signingKey UV_PUBLISH_TOKEN
YARN_NPM_AUTH_TOKEN CLOUDSDK_AUTH_ACCESS_TOKEN TF_VAR_db TF_TOKEN_app_terraform_io CARGO_REGISTRY_TOKEN HOMEBREW_GITHUB_API_TOKEN COMPOSER_AUTH
POETRY_PYPI_TOKEN_X TWINE_PASSWORD BASE_URL DATABASE_API_BASES CONFIG_DIR OPTS CCX LDX git_dir`
)

func TestGuardClasses(t *testing.T) {
	for _, tt := range []struct {
		name, names string
		reason      string // of the refusal; empty: accepted
		allowed     bool   // accepted with AllowNames
		warns       bool
	}{
		{"code", codeNames, "is refused: it can make programs run other code", true, false},
		{"traffic", trafficNames, "is refused: it can redirect traffic or change what is trusted", true, false},
		{"ours", ownNames, "is refused: it belongs to miosa-env or the service manager", false, false},
		{"warned", warnedNames, "", true, true},
		{"plain", plainNames, "", true, false},
	} {
		for name := range strings.FieldsSeq(tt.names) {
			t.Run(tt.name+"/"+name, func(t *testing.T) {
				built, err := environ.Environment{Bound: bind(name, "v")}.Build()
				if got := reasonOf(t, err, name); got != tt.reason {
					t.Errorf("reason: got %q, want %q", got, tt.reason)
				}
				if warned := len(built.Warnings) == 1; warned != tt.warns {
					t.Errorf("warnings: got %v", built.Warnings)
				}
				built, err = environ.Environment{Bound: bind(name, "v"), AllowNames: []string{"OTHER", name}}.Build()
				if ok := err == nil; ok != tt.allowed {
					t.Errorf("allowed: got %v, want %v", err, tt.allowed)
				}
				if len(built.Warnings) != 0 {
					t.Errorf("warnings about allowed names: %v", built.Warnings)
				}
			})
		}
	}
}

// reasonOf returns the reason of the only problem, or "" if there is no error.
func reasonOf(t *testing.T, err error, name string) string {
	t.Helper()
	if err == nil {
		return ""
	}
	var p *environ.Problem
	if !errors.As(err, &p) {
		t.Fatalf("not a *Problem: %v", err)
	}
	if p.Binding != "bnd_"+name || p.Name != name {
		t.Errorf("problem of %s, %s", p.Binding, p.Name)
	}
	return p.Reason
}

func TestGuard(t *testing.T) {
	for _, tt := range []struct {
		name string
		env  environ.Environment
		want string // empty: no error
	}{
		{"allow is by final name", environ.Environment{Bound: bind("PRELOAD", "x"), Prefix: "LD_", AllowNames: []string{"LD_PRELOAD"}}, ""},
		{"not by the bound one", environ.Environment{Bound: bind("PRELOAD", "x"), Prefix: "LD_", AllowNames: []string{"PRELOAD"}},
			"binding bnd_PRELOAD: LD_PRELOAD is refused: it can make programs run other code (--allow-name LD_PRELOAD lets it through)"},
		{"allow knows no patterns", environ.Environment{Bound: bind("LD_PRELOAD", "x"), AllowNames: []string{"LD_*", "*"}},
			"binding bnd_LD_PRELOAD: LD_PRELOAD is refused: it can make programs run other code (--allow-name LD_PRELOAD lets it through)"},
		{"a preserved name is refused all the same", environ.Environment{Inherited: []string{"PATH=/bin"}, Bound: bind("PATH", "x"), PreserveEnv: true},
			"binding bnd_PATH: PATH is refused: it can make programs run other code (--allow-name PATH lets it through)"},
		{"a shell function in a value", environ.Environment{Bound: bind("A", "() { canary; }")},
			`binding bnd_A: A is refused: its value starts with "() ", which some shells run (--allow-name A lets it through)`},
		{"which can be allowed", environ.Environment{Bound: bind("A", "() { :; }"), AllowNames: []string{"A"}}, ""},
		{"parentheses alone are harmless", environ.Environment{Bound: bind("A", "()", "B", "(x)", "C", " () ")}, ""},
		{"NUL in a value", environ.Environment{Bound: bind("A", "can\x00ary")}, "binding bnd_A: A can't be set: its value holds a NUL byte"},
		{"NUL isn't allowed by anything", environ.Environment{Bound: bind("A", "\x00"), AllowNames: []string{"A"}}, "binding bnd_A: A can't be set: its value holds a NUL byte"},
		{"NUL in a name", environ.Environment{Bound: bind("A\x00B", "x")}, `binding "bnd_A\x00B": "A\x00B" isn't a name: want letters, digits and _, no digit first`},
		{"empty name", environ.Environment{Bound: bind("", "x")}, `binding bnd_: "" isn't a name: want letters, digits and _, no digit first`},
		{"a prefix doesn't make an empty name one", environ.Environment{Bound: bind("", "x"), Prefix: "P_"}, `binding bnd_: "" isn't a name: want letters, digits and _, no digit first`},
		{"digit first", environ.Environment{Bound: bind("1A", "x")}, "binding bnd_1A: 1A isn't a name: want letters, digits and _, no digit first"},
		{"dash", environ.Environment{Bound: bind("A-B", "x")}, "binding bnd_A-B: A-B isn't a name: want letters, digits and _, no digit first"},
		{"equals", environ.Environment{Bound: bind("A=B", "x")}, "binding bnd_A=B: A=B isn't a name: want letters, digits and _, no digit first"},
		{"line break and escape", environ.Environment{Bound: bind("A\n\x1b[2J", "x")}, `binding "bnd_A\n\x1b[2J": "A\n\x1b[2J" isn't a name: want letters, digits and _, no digit first`},
		{"letters that look alike", environ.Environment{Bound: bind("РATH", "x")}, `binding "bnd_\u0420ATH": "\u0420ATH" isn't a name: want letters, digits and _, no digit first`},
		{"an endless name", environ.Environment{Bound: bind(strings.Repeat("x-", 100), "x")},
			"binding bnd_" + strings.Repeat("x-", 38) + "...: " + strings.Repeat("x-", 40) + "... isn't a name: want letters, digits and _, no digit first"},
		{"duplicates", environ.Environment{Bound: append(bind("A", "1", "B", "2"), bind("A", "3")...)}, "binding bnd_A: A is set by binding bnd_A too"},
		{"all at once", environ.Environment{Bound: bind("A", "1", "ENV", "canary", "LISTEN_FDS", "canary", "http_proxy", "canary", "B B", "canary\x00"), AllowNames: []string{"ENV2"}},
			"binding bnd_ENV: ENV is refused: it can make programs run other code (--allow-name ENV lets it through)\n" +
				"binding bnd_LISTEN_FDS: LISTEN_FDS is refused: it belongs to miosa-env or the service manager\n" +
				"binding bnd_http_proxy: http_proxy is refused: it can redirect traffic or change what is trusted (--allow-name http_proxy lets it through)\n" +
				"binding \"bnd_B B\": \"B B\" can't be set: its value holds a NUL byte\n" +
				"binding \"bnd_B B\": \"B B\" isn't a name: want letters, digits and _, no digit first"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := tt.env.Build()
			got := ""
			if err != nil {
				got = err.Error()
			}
			if diff := cmp.Diff(got, tt.want); diff != "" {
				t.Errorf("(-got +want):\n%s", diff)
			}
			if strings.Contains(got, "canary") {
				t.Error("the error contains a value")
			}
		})
	}
}

func TestGuardHint(t *testing.T) {
	_, err := environ.Environment{Bound: bind("ENV", "1", "http_proxy", "2", "LISTEN_FDS", "3")}.Build()
	var refused *environ.Refused
	if !errors.As(err, &refused) {
		t.Fatal(err)
	}
	if diff := cmp.Diff(refused.Hint(), "if it is meant, add --allow-name ENV --allow-name http_proxy; else leave the binding out with --only"); diff != "" {
		t.Errorf("(-got +want):\n%s", diff)
	}
}

// FuzzBound checks that a binding of any name and value either sets exactly its variable and no other, or is refused.
func FuzzBound(f *testing.F) {
	for _, seed := range [][2]string{{"A", "v"}, {"PATH", "x"}, {"", ""}, {"A=B", "c"}, {"A", "x\x00B=1"}, {"A\x00", "x"}, {"_", "() {"}, {"MIOSA_X", "y"}, {"Z", "\nB=1"}} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, name, value string) {
		built, err := environ.Environment{Inherited: []string{"A=1", "Z=2"}, Bound: bind(name, value), AllowNames: []string{name}}.Build()
		if err != nil {
			var p *environ.Problem
			if !errors.As(err, &p) || strings.Contains(err.Error(), "\n") && !strings.Contains(value, "\x00") {
				t.Fatalf("error %q", err)
			}
			return
		}
		want := map[string]string{"A": "1", "Z": "2", name: value}
		if len(built.Environ) != len(want) {
			t.Fatalf("got %q", built.Environ)
		}
		for _, entry := range built.Environ {
			k, v, _ := strings.Cut(entry, "=")
			if w, ok := want[k]; !ok || v != w || strings.ContainsRune(entry, 0) {
				t.Fatalf("got %q", built.Environ)
			}
		}
	})
}
