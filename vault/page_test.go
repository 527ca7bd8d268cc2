package vault_test

import (
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/vault/vaulttest"
)

// pageFiles returns the page's files by the path they are served under, in the form that ask accepts.
func pageFiles(t *testing.T) map[string][]byte {
	t.Helper()
	paths, err := filepath.Glob("page/static/*")
	if err != nil || len(paths) < 3 {
		t.Fatalf("found %d files of the page: %v", len(paths), err)
	}
	files := map[string][]byte{}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		name := "page/" + filepath.Base(path)
		if name == "page/index.html" {
			name = ""
		}
		files["//"+name] = text
	}
	return files
}

func TestPage(t *testing.T) {
	s := vaulttest.Start(t)
	kinds := map[string]string{
		"": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml",
	}
	tags := map[string]bool{}
	for path, text := range pageFiles(t) {
		t.Run(path, func(t *testing.T) {
			a := ask(t, s, api.Key{}, "GET", path, "")
			if a.status != http.StatusOK || string(a.body) != string(text) {
				t.Fatalf("status %d, %d bytes, want %d", a.status, len(a.body), len(text))
			}
			if got, want := a.header.Get("Content-Type"), kinds[filepath.Ext(path)]; got != want {
				t.Errorf("Content-Type %q, want %q", got, want)
			}
			tag := a.header.Get("ETag")
			if tag == "" || tags[tag] {
				t.Errorf("ETag %q", tag)
			}
			tags[tag] = true
			for name, want := range map[string]string{
				"Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
				"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin",
			} {
				if got := a.header.Get(name); got != want {
					t.Errorf("%s: %q, want %q", name, got, want)
				}
			}
			if a.header.Get("Set-Cookie") != "" || a.header.Get("X-Request-ID") == "" {
				t.Errorf("header: %v", a.header)
			}

			head := ask(t, s, api.Key{}, "HEAD", path, "")
			if head.status != http.StatusOK || len(head.body) != 0 || head.header.Get("ETag") != tag {
				t.Errorf("HEAD: status %d, %d bytes, ETag %q", head.status, len(head.body), head.header.Get("ETag"))
			}
			if got := ask(t, s, api.Key{}, "GET", path, "", "If-None-Match", tag); got.status != http.StatusNotModified || len(got.body) != 0 {
				t.Errorf("with its ETag: status %d, %d bytes", got.status, len(got.body))
			}
			if got := ask(t, s, api.Key{}, "GET", path, "", "If-None-Match", `"another"`); got.status != http.StatusOK {
				t.Errorf("with another ETag: status %d", got.status)
			}
			wantRefusal(t, ask(t, s, s.TenantKey, "POST", path, "{}"), api.ErrMethod, "GET, HEAD")
			wantRefusal(t, ask(t, s, s.TenantKey, "DELETE", path, ""), api.ErrMethod, "GET, HEAD")
		})
	}
}

// The page's policy is spelled out here, so that it is not loosened by accident.
func TestPagePolicy(t *testing.T) {
	s := vaulttest.Start(t)
	header := ask(t, s, api.Key{}, "GET", "//", "").header
	want := []string{
		"base-uri 'none'", "connect-src 'self'", "default-src 'none'", "form-action 'none'", "frame-ancestors 'none'", "img-src 'self'",
		"require-trusted-types-for 'script'", "script-src 'self'", "style-src 'self'", "trusted-types 'none'",
	}
	got := strings.Split(header.Get("Content-Security-Policy"), "; ")
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Content-Security-Policy (-want +got):\n%s", diff)
	}
	// The only browser feature allowed is writing to the clipboard, to copy commands.
	for _, rule := range strings.Split(header.Get("Permissions-Policy"), ", ") {
		if !strings.HasSuffix(rule, "=()") && rule != "clipboard-write=(self)" {
			t.Errorf("Permissions-Policy: %s", rule)
		}
	}
}

func TestPageHasNoOtherFiles(t *testing.T) {
	s := vaulttest.Start(t)
	for _, path := range []string{
		"//page", "//page/", "//page/none.js", "//page/index.html", "//page/../go.mod", "//page/%2e%2e/page.go", "//page/static/app.js", "//page/app.js/",
		"//index.html", "//app.js", "//favicon.ico",
	} {
		t.Run(path, func(t *testing.T) {
			wantRefusal(t, ask(t, s, api.Key{}, "GET", path, ""), api.ErrNotFound, "no such path")
		})
	}
}

// The page's files use no API that could reach other servers or store anything.
func TestPageKeepsToItself(t *testing.T) {
	elsewhere := regexp.MustCompile(`(?i)https?://[^'"\s]+|//[a-z0-9-]+\.[a-z]{2,}/`)
	keeps := regexp.MustCompile(`localStorage|sessionStorage|indexedDB|document\.cookie|caches\b|serviceWorker|pushState|replaceState|` +
		`innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b|new Function|console\.|<style|style="| on[a-z]+="`)
	for path, text := range pageFiles(t) {
		for _, found := range elsewhere.FindAllString(string(text), -1) {
			if found != "http://www.w3.org/2000/svg" {
				t.Errorf("%s names %s", path, found)
			}
		}
		if found := keeps.Find(text); found != nil {
			t.Errorf("%s has %s", path, found)
		}
	}
}
