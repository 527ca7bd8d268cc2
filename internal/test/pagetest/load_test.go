package pagetest

import (
	"encoding/json"
	"strings"
	"testing"
)

// maxFirstLoad is the size of what the page loads until it shows the secrets, in bytes, without compression.
const maxFirstLoad = 80_000

// The first view needs few bytes; the other views load when they are shown. Nothing moves meanwhile.
func firstLoad(t *testing.T, s *screen) {
	demo(s)
	s.signIn()
	s.shows("github-deploy")
	total, sizes := s.loaded()
	if total == 0 || total > maxFirstLoad {
		t.Errorf("%d bytes in %v, want at most %d", total, sizes, maxFirstLoad)
	}
	for _, view := range []string{"Resources", "Connections", "Keys", "Network", "Audit", "Secrets"} {
		s.press(view)
		s.wait("document.querySelector('main h1').textContent === " + quote(view))
		if file := strings.ToLower(view) + ".js"; sizes[file] > 0 != (view == "Secrets") {
			t.Errorf("%s: %d bytes before it is shown", file, sizes[file])
		}
	}
	shift := eval[float64](s, `new Promise((done) => {
		let sum = 0;
		new PerformanceObserver((list) => { for (const e of list.getEntries()) sum += e.value; }).observe({ type: 'layout-shift', buffered: true });
		setTimeout(() => done(sum), 300);
	})`)
	if shift > 0 {
		t.Errorf("the layout shifts by %v", shift)
	}
	s.noProblems()
}

// loaded returns the sizes of the page's files that the browser has loaded, by name.
func (s *screen) loaded() (total int, sizes map[string]int) {
	s.Helper()
	text := eval[string](s, `JSON.stringify(Object.fromEntries([...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]
		.filter((e) => !e.name.includes('/api/')).map((e) => [e.name.split('/').pop(), e.decodedBodySize])))`)
	if err := json.Unmarshal([]byte(text), &sizes); err != nil {
		s.Fatal(err)
	}
	for _, size := range sizes {
		total += size
	}
	return total, sizes
}

// A view whose script can't be loaded says so, and can be tried again.
func viewNotLoadable(t *testing.T, s *screen) {
	s.Put(t, "github", "v", production, "GH_TOKEN")
	s.signIn()
	s.shows("github")
	s.Stop(t)
	s.press("Keys")
	s.shows("This view could not be loaded.")
	s.wait("document.title.startsWith('Keys') && document.querySelector('nav [aria-current=page]').textContent === 'Keys'")
	s.Restart(t)
	s.press("Try again")
	s.row("Tenant key", "everything")
}
