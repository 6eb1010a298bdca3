import tseslint from 'typescript-eslint';

export default tseslint.config(
  { ignores: ['lib/', 'labextension/', 'node_modules/'] },
  {
    files: ['src/**/*.ts', 'tests/**/*.ts'],
    extends: [tseslint.configs.strictTypeChecked],
    languageOptions: {
      parserOptions: { project: './tsconfig.json', tsconfigRootDir: import.meta.dirname },
    },
    rules: {
      eqeqeq: 'error',
      'no-restricted-globals': [
        'error',
        { name: 'fetch', message: 'Ask through api.ts: it knows the token and the address.' },
      ],
      '@typescript-eslint/explicit-function-return-type': ['error', { allowExpressions: true }],
      '@typescript-eslint/no-confusing-void-expression': ['error', { ignoreArrowShorthand: true }],
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }],
    },
  },
  {
    files: ['src/**/*.ts'],
    rules: {
      // Text of models, servers and people is shown: nothing of it may become markup.
      'no-restricted-properties': [
        'error',
        { property: 'innerHTML', message: 'Use element() of dom.ts: text nodes only.' },
        { property: 'outerHTML', message: 'Use element() of dom.ts: text nodes only.' },
        { property: 'insertAdjacentHTML', message: 'Use element() of dom.ts: text nodes only.' },
      ],
    },
  },
  {
    files: ['src/**/*.ts'],
    ignores: ['src/lab/api.ts'],
    rules: {
      'no-restricted-syntax': [
        'error',
        {
          selector: "MemberExpression[property.name='makeRequest']",
          message: 'Only api.ts talks to the server.',
        },
      ],
    },
  },
);
