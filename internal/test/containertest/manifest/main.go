// Command manifest checks Kubernetes manifests with Kubernetes' own types. It rejects unknown fields, duplicates and wrong types:
//
//	manifest FILE...
//
// It is a separate module, so that these types stay out of the program's go.mod.
package main

import (
	"fmt"
	"os"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/json"
)

func main() { os.Exit(run(os.Args[1:])) }

func run(files []string) int {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{appsv1.AddToScheme, corev1.AddToScheme} {
		if err := add(scheme); err != nil {
			fmt.Fprintln(os.Stderr, "manifest:", err)
			return 1
		}
	}
	decoder := json.NewSerializerWithOptions(json.DefaultMetaFactory, scheme, scheme, json.SerializerOptions{Yaml: true, Strict: true})
	code := 0
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err == nil {
			var kind fmt.Stringer
			if _, kind, err = decoder.Decode(text, nil, nil); err == nil {
				fmt.Fprintln(os.Stdout, kind)
			}
		}
		if err != nil {
			fmt.Fprintf(os.Stderr, "manifest: %s: %v\n", name, err)
			code = 1
		}
	}
	return code
}
