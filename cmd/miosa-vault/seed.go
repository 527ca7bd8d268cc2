package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"

	"github.com/joho/godotenv"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/vault"
)

// seed is one line of a .env file.
type seed struct {
	name  string
	value api.Value
}

// readSeed reads a .env file, sorted by name. "" is no file, and no seeds.
func readSeed(file string) ([]seed, error) {
	if file == "" {
		return nil, nil
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("read seed: %w", err)
	}
	defer func() { _ = f.Close() }()
	lines, err := godotenv.Parse(f)
	if err != nil {
		// Not the parser's error: it repeats the line.
		return nil, withHint(errors.New("read seed "+file+": not a .env file"), "each line is NAME=value; quote values that span lines")
	}
	var seeds []seed
	for _, name := range slices.Sorted(maps.Keys(lines)) {
		seeds = append(seeds, seed{name, api.NewValue([]byte(lines[name]))})
	}
	return seeds, nil
}

func (s seed) put(ctx context.Context, store *vault.Store, operator vault.Actor, r api.Resource) error {
	_, _, _, err := store.PutSecret(ctx, operator, vault.PutSecret{
		Name: s.name, Type: "env_var", Value: &s.value, ResourceType: r.Type, ResourceID: r.ID, ExposeAsEnv: s.name,
	})
	return err
}
