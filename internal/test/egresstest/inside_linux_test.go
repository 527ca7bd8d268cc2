package egresstest

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/needs"
	"github.com/Miosa-osa/miosa-env/internal/test/canary"
	"github.com/Miosa-osa/miosa-env/internal/test/memoryimage"
	"github.com/Miosa-osa/miosa-env/internal/test/poll"
)

// Clients do their work with placeholders, before and after a rotation, on the connections that they have, while nothing in their
// network has a value.
func TestNothingInside(t *testing.T) {
	needs.Long(t, "it searches all memory of many clients")
	w := newWorld(t)
	var all []*running
	for _, c := range clients() {
		t.Run(c.name, func(t2 *testing.T) {
			all = append(all, w.run(t2, t, c))
		})
	}
	requests := func(name string, version int) {
		t.Run(name, func(t *testing.T) {
			for _, r := range all {
				t.Run(r.name, func(t *testing.T) {
					t.Parallel()
					w.next(t, r, version)
				})
			}
		})
	}
	requests("request", 1)
	for _, r := range all {
		if r.held {
			<-w.gate(r.name).reached
		}
	}
	t.Run("image", w.searchInside)
	before := map[*running][]string{}
	for _, r := range all {
		if !r.another && !r.held {
			before[r] = r.connections(t)
		}
	}
	w.rotate(t)
	requests("request after a rotation", 2)
	for r, had := range before {
		if has := r.connections(t); len(had) == 0 || !slices.Equal(had, has) {
			t.Errorf("%s had the connections %v before the rotation, and %v after it", r.name, had, has)
		}
	}
	t.Run("image after a rotation", w.searchInside)
	t.Run("refused", w.refused)
	t.Run("audit", func(t *testing.T) { w.audited(t, all) })
}

// searchInside searches what the sandbox has for values.
func (w *world) searchInside(t *testing.T) {
	controls := memoryimage.NewMarks()
	planted := exec.CommandContext(t.Context(), "sleep", "1000")
	planted.Dir, planted.Env = w.folder(t, "planted"), []string{"CONTROL=" + controls.Text}
	if err := os.WriteFile(filepath.Join(planted.Dir, "control"), []byte(controls.Text), 0o600); err != nil {
		t.Fatal(err)
	}
	start(t, w.sandbox, planted)
	defer func() { _ = planted.Process.Kill(); _ = planted.Wait() }()

	if len(memoryimage.Of(t, w.broker.Process.Pid, w.marks).Found) == 0 {
		t.Error("no value is found in the memory of the broker")
	}
	for where, found := range w.search(t, w.marks, w.processes(t)) {
		t.Errorf("%s in %s", found, where)
	}
	found := w.search(t, controls, []int{planted.Process.Pid})
	for _, kind := range []string{"memory", "environ", "file"} {
		if !slices.ContainsFunc(slices.Collect(maps.Keys(found)), func(where string) bool { return strings.HasPrefix(where, kind+" ") }) {
			t.Errorf("the control is not found in the %s", kind)
		}
	}
}

// search returns which marks are in the memory, arguments and environment of processes, and in the files of the sandbox's working
// and temporary folders, on disk and in memory, by place.
func (w *world) search(t *testing.T, marks memoryimage.Marks, processes []int) map[string][]string {
	t.Helper()
	all := map[string][]string{}
	add := func(where string, text []byte) {
		if found := marks.Find(text); found != nil {
			all[where] = found
		}
	}
	size := 0
	for _, pid := range processes {
		image := memoryimage.Of(t, pid, marks)
		size += image.Size
		for mapping, found := range image.Found {
			all[fmt.Sprintf("memory of %d: %s", pid, mapping)] = found
		}
		for _, name := range []string{"environ", "cmdline"} {
			text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, name))
			if err != nil {
				t.Error(err)
			}
			add(fmt.Sprintf("%s of %d", name, pid), text)
		}
	}
	files := canary.Files(t, w.dir)
	maps.Copy(files, canary.Files(t, w.memory))
	for path, text := range files {
		add("file "+path, []byte(text))
	}
	t.Logf("%d processes with %d MB of memory, %d files", len(processes), size>>20, len(files))
	return all
}

// processes returns the ids of the processes in the sandbox. The main thread of the test can be the one of a network.
func (w *world) processes(t *testing.T) (pids []int) {
	t.Helper()
	network, err := os.Readlink("/proc/" + w.sandbox.Name() + "/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	entries, err := filepath.Glob("/proc/[0-9]*/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if to, err := os.Readlink(entry); err == nil && to == network && !strings.HasPrefix(entry, fmt.Sprintf("/proc/%d/", os.Getpid())) {
			pid, err := strconv.Atoi(strings.Split(entry, "/")[2])
			if err != nil {
				t.Fatal(err)
			}
			pids = append(pids, pid)
		}
	}
	return pids
}

// What the rules don't allow is refused with the reason, and no server is connected to.
func (w *world) refused(t *testing.T) {
	for i, tt := range []struct {
		name, token, url, status, reason, binding string
	}{
		{"another host", "API_TOKEN", "https://" + secondHost, "403", "placeholder", "API_TOKEN"},
		{"another sandbox", "NEIGHBOR_TOKEN", "https://" + secondHost, "403", "placeholder", ""},
		{"plain http", "SECOND_TOKEN", "http://" + secondHost + ":443", "403", "plain_http", "SECOND_TOKEN"},
		{"plain http to another host", "API_TOKEN", "http://" + plainHost, "403", "placeholder", "API_TOKEN"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out, err := w.curl(t, fmt.Sprint("refused-", i), "--write-out", "%{http_code}", "--oauth2-bearer", "$"+tt.token, tt.url)
			text, status, _ := strings.Cut(out, "\n")
			var why struct{ Reason, Binding string }
			if err != nil || json.Unmarshal([]byte(text), &why) != nil || status != tt.status || why.Reason != tt.reason || why.Binding != tt.binding {
				t.Errorf("got %v: %s", err, out)
			}
		})
	}
	t.Run("without the broker", func(t *testing.T) {
		out, err := w.curl(t, "direct", "--noproxy", "*", "--connect-timeout", "5", "https://"+serverAddress(0))
		if err == nil {
			t.Errorf("the sandbox has reached a server: %s", out)
		}
	})
	for _, host := range []string{secondHost, plainHost} {
		if n := w.accepted[host].Load(); n != 0 {
			t.Errorf("%s has had %d connections", host, n)
		}
	}
}

// audited checks that the audit of the vault has the requests of each client with both versions of the value, and the refusals.
func (w *world) audited(t *testing.T, all []*running) {
	want := []string{"refused: placeholder", "refused: plain_http"}
	for _, r := range all {
		whole := map[string]string{"git": "/private.git/git-receive-pack", "grpc": "/test.Echo/Once"}[r.name]
		for version := range 2 {
			if r.name != "git" || version > 0 { // which pushes after the rotation
				want = append(want, fmt.Sprintf("%s version %d", cmp.Or(whole, r.name), version+1))
			}
		}
	}
	var missing []string
	if !poll.Within(patience, func() bool {
		text := w.env(t, "", "audit", "--json", "--limit", "0", "--resource", "sandbox:sb_1")
		if found := w.marks.Find(text); found != nil {
			t.Fatalf("the audit has %s", found)
		}
		var events []api.Event
		if err := json.Unmarshal(text, &events); err != nil {
			t.Fatal(err)
		}
		seen := map[string]bool{}
		for _, e := range events {
			if e.StatusCode == http.StatusForbidden {
				seen["refused: "+e.Detail] = true
			}
			if e.StatusCode != http.StatusOK && e.StatusCode != http.StatusSwitchingProtocols || e.Transforms == nil || len(e.Transforms.Secrets.Swapped) == 0 {
				continue
			}
			for _, b := range e.Bindings {
				for _, name := range []string{e.Path, path.Base(e.Path), path.Base(path.Dir(e.Path))} { // /NAME/hold
					seen[fmt.Sprintf("%s version %d", name, b.Version)] = true
				}
			}
		}
		missing = slices.DeleteFunc(slices.Clone(want), func(name string) bool { return seen[name] })
		return len(missing) == 0
	}) {
		t.Errorf("the audit has nothing of %q", missing)
	}
}

// curl runs curl in the sandbox.
func (w *world) curl(t *testing.T, name string, args ...string) (string, error) {
	t.Helper()
	c := w.command(t, name, append([]string{"curl", "--silent"}, args...)...)
	var out bytes.Buffer
	c.Stdout = &out
	start(t, w.sandbox, c)
	err := c.Wait()
	return out.String(), err
}
