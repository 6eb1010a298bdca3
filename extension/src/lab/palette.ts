/** The commands that stand in the palette, under one heading. */

import { FIRST_CELL } from './cells.js';
import type { Controller } from './controller.js';

export const CATEGORY = 'Conduit';

export interface Command {
  readonly id: string;
  readonly label: string;
  readonly caption: string;
  readonly run: () => void | Promise<void>;
}

export function commandsOf(controller: Controller, open: () => void): readonly Command[] {
  return [
    {
      id: 'conduit:open',
      label: 'Show What Runs and What It Costs',
      caption: 'Open the sidebar of Conduit',
      run: open,
    },
    {
      id: 'conduit:refresh',
      label: 'Look Again',
      caption: 'Read anew what runs',
      run: () => controller.refresh(),
    },
    {
      id: 'conduit:terminate-all',
      label: 'Terminate All',
      caption: 'End everything that runs, after a question',
      run: () => controller.terminateAll(),
    },
    {
      id: 'conduit:first-cell',
      label: 'Insert a First Cell',
      caption: 'Put the line that loads Conduit into the notebook',
      run: () => controller.insertCell(FIRST_CELL),
    },
    {
      id: 'conduit:offerings-cell',
      label: 'Insert a Cell That Compares Prices',
      caption: 'Put %conduit offerings into the notebook',
      run: () => controller.insertCell('%conduit offerings'),
    },
  ];
}
