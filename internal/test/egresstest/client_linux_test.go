package egresstest

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/internal/needs"
)

// client is a program that makes requests in the sandbox, with the placeholders in its environment. It prints a line for each
// request, and its second one follows when it reads another URL, or when the server releases the answer to the first.
type client struct {
	name    string
	words   []string
	url     string                             // the first word of its path, or the last, is the client's name
	held    bool                               // the server releases the answer to the first
	another bool                               // its second request may need another connection
	needs   []string                           // commands and files
	ended   func(*testing.T, *world, *running) // checks what is left when it has ended; nil: it goes on
}

// Files of Debian's packages, which have no commands.
const (
	pythonFiles   = "/usr/lib/python3/dist-packages/"
	requestsFiles = pythonFiles + "requests/__init__.py"
	httpxFiles    = pythonFiles + "httpx/__init__.py"
	h2Files       = pythonFiles + "h2/__init__.py"
	botocoreFiles = pythonFiles + "botocore/__init__.py"
	python        = "/usr/bin/python3" // which finds them
)

func clients() []client {
	file := func(name string) string {
		path, _ := filepath.Abs(filepath.Join("testdata", name))
		return path
	}
	curl := func(name, host string, args ...string) client {
		first := "https://" + host + "/" + name
		words := append([]string{"curl", "--silent", "--show-error", "--no-buffer", "--compressed", "--fail-with-body", "--oauth2-bearer", "$API_TOKEN", "--write-out", "%{stderr}connections: %{num_connects}\n"}, args...)
		return client{name: name, words: append(words, first+"/hold", first), held: true, needs: []string{"curl"}, ended: oneConnection}
	}
	golang := func(name, kind, url string) client {
		return client{name: name, words: []string{program("client"), kind}, url: url + name}
	}
	const api, old, model, store = "https://" + apiHost + "/", "https://" + oldHost + "/", "https://" + modelHost + "/v1/", "https://" + storeHost + "/bucket/"
	// fetch closes connections that are idle for four seconds.
	return []client{
		curl("curl-h2", apiHost),
		curl("curl-h1", apiHost, "--http1.1"),
		curl("curl-old", oldHost),
		{name: "git", words: []string{"sh", "-ec", pushes, "sh", "https://git:$GITHUB_TOKEN@" + gitHost + "/private.git"}, held: true, needs: []string{"git"}, ended: pushed},
		{name: "requests", words: []string{python, file("requests_client.py")}, url: api + "requests", needs: []string{python, requestsFiles}},
		{name: "httpx", words: []string{python, file("httpx_client.py")}, url: api + "httpx", needs: []string{python, httpxFiles, h2Files}},
		{name: "httpx-model", words: []string{python, file("model_client.py")}, url: model + "httpx-model", needs: []string{python, httpxFiles, h2Files}},
		{name: "fetch", words: []string{"node", file("fetch_client.mjs")}, url: api + "fetch", another: true, needs: []string{"node"}},
		{name: "fetch-model", words: []string{"node", file("model_client.mjs")}, url: model + "fetch-model", another: true, needs: []string{"node"}},
		{name: "java", words: []string{"java", "-Xmx64m", "-XX:TieredStopAtLevel=1", "-Djava.io.tmpdir=.", file("Client.java")}, url: api + "java", needs: []string{"java"}},
		golang("go", "http", api),
		golang("go-old", "http", old),
		golang("grpc", "grpc", "https://"+rpcHost+"/"),
		{name: "websocket", words: []string{program("client"), "websocket"}, url: "https://" + socketHost + "/websocket", another: true},
		golang("s3", "s3", store),
		{name: "botocore", words: []string{python, file("s3_client.py")}, url: store + "botocore", needs: []string{python, botocoreFiles}},
	}
}

// running is a client that runs.
type running struct {
	client
	cmd   *exec.Cmd
	stdin io.WriteCloser
	lines chan string
	dir   string
}

// command is a command that miosa-env runs in the sandbox, with the broker and a working folder of its own. $NAME in its words is a
// placeholder.
func (w *world) command(t testing.TB, name string, words ...string) *exec.Cmd {
	t.Helper()
	dir := w.folder(t, name)
	for i := range words {
		for variable, placeholder := range w.placeholders {
			words[i] = strings.ReplaceAll(words[i], "$"+variable, placeholder)
		}
	}
	c := exec.CommandContext(t.Context(), program("miosa-env"), append([]string{"run", "--egress", fmt.Sprintf("http://%s:%d", brokerAddress, brokerPort), "--"}, words...)...)
	c.Dir = dir
	c.Env = append(w.vault.Environ("MIOSA_API_KEY", "MIOSA_SANDBOX_ID"), "MIOSA_BASE_URL="+w.entrance, "MIOSA_SOCKET="+filepath.Join(dir, "agent.sock"),
		"HOME="+dir, "TMPDIR="+dir, "XDG_RUNTIME_DIR="+w.memory)
	c.Cancel = func() error { return c.Process.Signal(syscall.SIGTERM) }
	return c
}

// folder makes a folder of the sandbox.
func (w *world) folder(t testing.TB, name string) string {
	t.Helper()
	dir := filepath.Join(w.dir, name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

// run starts a client, which ends with the test all.
func (w *world) run(t, all *testing.T, c client) *running {
	t.Helper()
	needs.File(t, c.needs...)
	if c.words[0] == "node" && exec.CommandContext(t.Context(), "node", "--use-env-proxy", "-e", "").Run() != nil {
		needs.NewerNode(t, "22.21: older ones use no proxy")
	}
	r := &running{client: c, lines: make(chan string, 10)}
	r.cmd = w.command(all, c.name, c.words...)
	r.dir = r.cmd.Dir
	var out io.Reader
	var err error
	if r.stdin, err = r.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if out, err = r.cmd.StdoutPipe(); err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(r.dir, "stderr"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	r.cmd.Stderr = log
	start(t, w.sandbox, r.cmd)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for s := bufio.NewScanner(out); s.Scan(); {
			r.lines <- s.Text()
		}
		close(r.lines)
		_ = r.cmd.Wait()
	}()
	all.Cleanup(func() { _ = r.cmd.Process.Signal(syscall.SIGTERM); <-ended })
	return r
}

// next makes the client send its next request, and checks the answer: the server has received the given version of the value, and
// the client has received the answer without it.
func (w *world) next(t *testing.T, r *running, version int) {
	t.Helper()
	switch {
	case !r.held:
		if _, err := io.WriteString(r.stdin, r.url+"\n"); err != nil {
			t.Error(err)
		}
	case version == 2:
		close(w.gate(r.name).released)
	}
	select {
	case line, ok := <-r.lines:
		if ok {
			w.check(t, line, version)
			break
		}
		said, _ := os.ReadFile(filepath.Join(r.dir, "stderr"))
		t.Fatalf("ended without an answer; servers received versions %v:\n%s", w.received(r.name), said)
	case <-time.After(patience):
		t.Fatalf("no answer; servers received versions %v", w.received(r.name))
	}
	if version == 2 && r.ended != nil {
		for range r.lines {
		}
		r.ended(t, w, r)
	}
	if got := w.received(r.name); len(got) == 0 || got[len(got)-1] != version {
		t.Errorf("servers received versions %v, want %d", got, version)
	}
}

var (
	versionIn = regexp.MustCompile(`version (\d)`)
	sentIn    = regexp.MustCompile(`(?:sent|header|trailer) \[?([^ ,;\]]*)`)
)

// check checks a line that a client has printed.
func (w *world) check(t *testing.T, line string, version int) {
	t.Helper()
	if found := w.marks.Find([]byte(line)); found != nil {
		t.Errorf("the client has received a value: %s", found)
	}
	versions, sent := versionIn.FindAllStringSubmatch(line, -1), sentIn.FindAllStringSubmatch(line, -1)
	if len(versions) == 0 || len(sent) == 0 {
		t.Errorf("unexpected answer: %q", line)
	}
	for _, v := range versions {
		if v[1] != fmt.Sprint(version) {
			t.Errorf("the server has received version %s, want %d: %q", v[1], version, line)
		}
	}
	for _, s := range sent {
		if s[1] == "" || strings.Trim(s[1], "*") != "" {
			t.Errorf("the echo isn't masked: %q", line)
		}
	}
}

// oneConnection checks that curl made its second request on the connection of the first.
func oneConnection(t *testing.T, _ *world, r *running) {
	said, err := os.ReadFile(filepath.Join(r.dir, "stderr"))
	if err != nil || !strings.HasSuffix(string(said), "connections: 0\n") {
		t.Errorf("curl has made another connection: %s", said)
	}
}

// connections returns the connections to the broker of what miosa-env runs, by their inodes.
func (r *running) connections(t testing.TB) (inodes []string) {
	t.Helper()
	all := map[string]bool{}
	for _, name := range []string{"tcp", "tcp6"} {
		table, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", r.cmd.Process.Pid, name))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(table)) {
			// sl local_address rem_address st tx_queue:rx_queue tr:tm->when retrnsmt uid timeout inode
			if f := strings.Fields(line); strings.HasSuffix(f[2], fmt.Sprintf(":%04X", brokerPort)) && f[3] == "01" {
				all["socket:["+f[9]+"]"] = true
			}
		}
	}
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", r.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, list := range lists {
		children, err := os.ReadFile(list)
		if err != nil {
			t.Fatal(err)
		}
		for _, child := range strings.Fields(string(children)) {
			files, err := filepath.Glob("/proc/" + child + "/fd/*")
			if err != nil {
				t.Fatal(err)
			}
			for _, file := range files {
				if to, _ := os.Readlink(file); all[to] {
					inodes = append(inodes, to)
				}
			}
		}
	}
	return inodes
}
