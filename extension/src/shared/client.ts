/** What the shared views need of a connection: HTTP in JupyterLab, a widget's comm in a panel. */

export type Verb = 'start' | 'stop' | 'restart' | 'terminate' | 'extend';

/** The key that means every deployment; it can be terminated, nothing else. */
export const ALL = 'all';

export interface Client {
  /** Begins what `verb` says with the deployment of that key, or with `ALL`. */
  act(key: string, verb: Verb): Promise<unknown>;
  /** Calls `heard` with the end of a log, now and as it grows; call what is returned to end that. */
  watchLog(key: string, heard: (lines: readonly string[]) => void): () => void;
}
