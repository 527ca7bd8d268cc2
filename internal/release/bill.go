package main

import (
	"cmp"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// component is a module in a CycloneDX list.
type component struct {
	Type    string `json:"type"`
	Ref     string `json:"bom-ref"`
	Name    string `json:"name"`
	Version string `json:"version"`
	PURL    string `json:"purl"`
}

// bill writes the list of a program's components.
// Source: the CycloneDX specification 1.6, JSON.
func (r *release) bill(name string, linked []module) error {
	refs, list := make([]string, len(linked)), make([]component, len(linked))
	for i, m := range linked {
		refs[i] = "pkg:golang/" + m.path + "@" + m.version
		list[i] = component{"library", refs[i], m.path, m.version, refs[i]}
	}
	self := "pkg:golang/github.com/Miosa-osa/miosa-env@" + r.number.String() + "#cmd/" + name
	text, err := json.MarshalIndent(map[string]any{
		"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1,
		"serialNumber": serial(self, refs),
		"metadata": map[string]any{
			"timestamp": r.time.Format(time.RFC3339),
			"component": component{"application", self, name, r.number.String(), self},
		},
		"components":   list,
		"dependencies": []map[string]any{{"ref": self, "dependsOn": refs}},
	}, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(r.out, fmt.Sprintf("%s_%s.cdx.json", name, r.number)), append(text, '\n'), 0o644) //nolint:gosec // it is handed out
}

// module is a module that is linked into a program. Go's own packages are "std".
type module struct{ path, version string }

// linked lists a program's modules on all platforms, sorted by path, from its build information.
func (r *release) linked(name string, platforms []string) ([]module, error) {
	all := map[module]bool{}
	for _, p := range platforms {
		info, err := buildinfo.ReadFile(r.program(p, name))
		if err != nil {
			return nil, fmt.Errorf("read what %s is made of: %w", r.program(p, name), err)
		}
		all[module{"std", strings.TrimPrefix(info.GoVersion, "go")}] = true
		for _, m := range info.Deps {
			if m.Replace != nil {
				m = m.Replace
			}
			all[module{m.Path, m.Version}] = true
		}
	}
	return slices.SortedFunc(maps.Keys(all), func(a, b module) int {
		return cmp.Or(strings.Compare(a.path, b.path), strings.Compare(a.version, b.version))
	}), nil
}

// serial returns a UUID that depends only on the content of a list.
func serial(self string, refs []string) string {
	sum := sha256.Sum256([]byte(self + "\n" + strings.Join(refs, "\n")))
	sum[6] = sum[6]&0x0f | 0x80 // version 8: of our own making
	sum[8] = sum[8]&0x3f | 0x80
	return fmt.Sprintf("urn:uuid:%x-%x-%x-%x-%x", sum[:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16])
}
