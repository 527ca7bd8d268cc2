package egresstest

import (
	"net/http"
	"net/http/cgi"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// makeRepository makes it, with one commit.
func (w *world) makeRepository(t *testing.T) {
	t.Helper()
	w.repositories = t.TempDir()
	c := exec.CommandContext(t.Context(), "sh", "-ec", `
		git init -q --bare private.git
		git -C private.git config http.receivepack true
		blob=$(head -c 3000000 /dev/urandom | git -C private.git hash-object -w --stdin)
		tree=$(printf '100644 blob %s\tlarge\n' "$blob" | git -C private.git mktree)
		git -C private.git update-ref refs/heads/main "$(git -C private.git commit-tree -m first "$tree")"
		git -C private.git symbolic-ref HEAD refs/heads/main`)
	c.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + w.repositories, "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com"}
	c.Dir = w.repositories
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// git serves the repository over HTTP. It holds the answer to the first request of a push.
func (w *world) git(rw http.ResponseWriter, r *http.Request) {
	_, password, _ := r.BasicAuth()
	if password == "" {
		rw.Header().Set("WWW-Authenticate", `Basic realm="git"`)
		rw.WriteHeader(http.StatusUnauthorized)
		return
	}
	rw.Header().Set("X-Echo", w.saw("git", "GITHUB_TOKEN", password, r.Proto))
	if w.versionOf("GITHUB_TOKEN", password) == 0 {
		rw.WriteHeader(http.StatusForbidden)
		return
	}
	if r.URL.Query().Get("service") == "git-receive-pack" {
		w.gate("git").wait(r.Context())
	}
	(&cgi.Handler{
		Path: gitBackend(), Dir: w.repositories,
		Env: []string{"GIT_PROJECT_ROOT=" + w.repositories, "GIT_HTTP_EXPORT_ALL=1", "REMOTE_USER=git"}, InheritEnv: []string{"PATH"},
	}).ServeHTTP(rw, r)
}

// gitBackend is git's server for HTTP.
func gitBackend() string {
	out, _ := exec.Command("git", "--exec-path").Output()
	return filepath.Join(strings.TrimSpace(string(out)), "git-http-backend")
}

// pushes clones the repository, commits, and pushes more than git sends in one piece. The trace has all that is received.
const pushes = `
export GIT_TRACE_CURL="$PWD/trace" GIT_TRACE_CURL_NO_DATA=1 GIT_TRACE_REDACT=0 GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@example.com GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@example.com
git clone --quiet "$1" work
cd work
head -c 3000000 /dev/urandom >larger
cat large >>larger
git add larger
git commit --quiet --message second
sed -n 's/.*<= Recv header: [Xx]-[Ee]cho: /200 /p' "$GIT_TRACE_CURL" | tail -n 1
git push --quiet
sed -n 's/.*<= Recv header: [Xx]-[Ee]cho: /200 /p' "$GIT_TRACE_CURL" | tail -n 1
`

// pushed checks that the server has the client's commit.
func pushed(t *testing.T, w *world, _ *running) {
	out, err := exec.CommandContext(t.Context(), "git", "-C", filepath.Join(w.repositories, "private.git"), "log", "--format=%s", "main").Output()
	if err != nil || string(out) != "second\nfirst\n" {
		t.Errorf("the server has %v: %s", err, out)
	}
	if out, err := exec.CommandContext(t.Context(), "git", "-C", filepath.Join(w.repositories, "private.git"), "fsck", "--strict").CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}
