package main

import (
	"context"
	"errors"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/envfile"
	"github.com/Miosa-osa/miosa-env/internal/cli"
	"github.com/Miosa-osa/miosa-env/vault"
)

// readSeed reads a .env file. "" is no file, and no variables.
func readSeed(file string) ([]envfile.Variable, error) {
	if file == "" {
		return nil, nil
	}
	list, err := envfile.Read(file)
	if e, ok := errors.AsType[*envfile.Error](err); ok {
		return nil, cli.WithHint(err, e.Hint())
	}
	return list, err
}

// putSeed stores a variable, and binds it under its name.
func putSeed(ctx context.Context, store *vault.Store, operator vault.Actor, r api.Resource, v envfile.Variable) error {
	_, _, _, err := store.PutSecret(ctx, operator, vault.PutSecret{
		Name: v.Name, Type: "env_var", Value: &v.Value, ResourceType: r.Type, ResourceID: r.ID, ExposeAsEnv: v.Name,
	})
	return err
}
