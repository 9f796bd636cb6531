import { run, SDK_2 } from '../matrix/typescript.mjs';

await run(SDK_2);
